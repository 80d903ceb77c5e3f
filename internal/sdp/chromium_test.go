//go:build chromium

package sdp

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// page makes a browser's offers, takes our answers, and answers our offer. It
// posts each outcome as {name, error, sdp} and at the end {name: "done"}.
const page = `<script>
const canvas = document.createElement('canvas'); canvas.getContext('2d');
const picture = () => canvas.captureStream(1).getVideoTracks()[0];
const sound = () => new AudioContext().createMediaStreamDestination().stream.getAudioTracks()[0];
const post = (path, body) => fetch(path, {method: 'POST', body}).then(r => r.text());
const report = (name, error, sdp) => post('/report', JSON.stringify({name, error, sdp}));
async function offer(name, role, setUp) {
  try {
    const pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'});
    setUp(pc);
    await pc.setLocalDescription();
    await pc.setRemoteDescription({type: 'answer', sdp: await post('/' + role, pc.localDescription.sdp)});
    const unused = pc.getTransceivers().filter(t => t.currentDirection == 'inactive').length;
    await report(name, unused ? unused + ' inactive sections' : '', pc.localDescription.sdp);
  } catch (e) { await report(name, '' + e); }
}
(async () => {
  await offer('publish', 'publish', pc => { for (const t of [sound(), picture()]) pc.addTransceiver(t, {direction: 'sendonly'}); });
  await offer('publish simulcast', 'publish', pc => pc.addTransceiver(picture(), {direction: 'sendonly',
    sendEncodings: [{rid: 'q', scaleResolutionDownBy: 4}, {rid: 'h', scaleResolutionDownBy: 2}, {rid: 'f'}]}));
  await offer('publish both ways', 'publish', pc => { pc.addTrack(picture()); pc.addTrack(sound()); });
  await offer('play', 'play', pc => { for (const k of ['video', 'audio']) pc.addTransceiver(k, {direction: 'recvonly'}); });
  await offer('play with data', 'play', pc => { pc.addTransceiver('video', {direction: 'recvonly'}); pc.createDataChannel('chat'); });
  try {
    const pc = new RTCPeerConnection();
    await pc.setRemoteDescription({type: 'offer', sdp: await post('/offer')});
    await pc.setLocalDescription();
    await report('answer', '', pc.localDescription.sdp);
  } catch (e) { await report('answer', '' + e); }
  await report('done');
})();
</script>`

type outcome struct{ Name, Error, SDP string }

// Chromium takes our answers and answers our offer. Run with -tags chromium.
func TestChromium(t *testing.T) {
	outcomes := make(chan outcome, 16) // more than the page reports
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page)
	})
	mux.HandleFunc("/publish", answerHandler(Publish))
	mux.HandleFunc("/play", answerHandler(Play))
	mux.HandleFunc("/offer", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, testOffer().Marshal()) })
	mux.HandleFunc("/report", func(_ http.ResponseWriter, r *http.Request) {
		var o outcome
		_ = json.NewDecoder(r.Body).Decode(&o)
		outcomes <- o
	})
	server := httptest.NewServer(mux)
	defer server.Close()

	browser := exec.CommandContext(t.Context(), "chromium", "--headless", "--no-sandbox", "--disable-gpu",
		"--user-data-dir="+t.TempDir(), server.URL)
	browser.WaitDelay = 5 * time.Second
	require.NoError(t, browser.Start())
	defer func() {
		_ = browser.Process.Kill()
		_ = browser.Wait()
	}()

	for done := 0; ; done++ {
		select {
		case o := <-outcomes:
			if o.Name == "done" {
				require.Equal(t, 6, done)
				return
			}
			require.Empty(t, o.Error, o.Name)
			if o.Name == "answer" {
				requireAnswers(t, o.SDP)
			}
		case <-time.After(time.Minute):
			t.Fatal("the browser said nothing for a minute")
		}
	}
}

func answerHandler(role Role) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		offer, err := Parse(text, DefaultLimits)
		if err == nil {
			err = checkRole(offer, role)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		_, _ = io.WriteString(w, answerTo(offer, role).Marshal(offer))
	}
}

func requireAnswers(t *testing.T, text string) {
	answer, err := ParseAnswer([]byte(text), DefaultLimits)
	require.NoError(t, err)
	offer, err := testOffer().Description()
	require.NoError(t, err)
	require.NoError(t, MatchAnswer(offer, answer))
	t.Log("Chromium takes", names(answer.Media[0].Codecs), "and", names(answer.Media[1].Codecs))
}
