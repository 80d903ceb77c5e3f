package config_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"rheomesh/config"
)

func TestPrivateReceivers(t *testing.T) {
	credentials := `RHEOMESH_AUTH_API_KEYS=[{"id":"ops","secret":"` + secret + `","grants":[{"routers":["*"],"actions":["admin"]}]}]`
	for _, row := range []struct {
		name string
		env  []string
		want bool
	}{
		{"a node of this machine", nil, true},
		{"a node of this machine that says no", []string{"RHEOMESH_WEBHOOKS_ALLOW_PRIVATE=false"}, false},
		{"a node that others reach", []string{credentials}, false},
		{"a node that others reach and that says yes", []string{credentials, "RHEOMESH_WEBHOOKS_ALLOW_PRIVATE=true"}, true},
		{"only its media are reached", []string{credentials, "RHEOMESH_HTTP_ADDR=127.0.0.1:80"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, err := config.Load(config.Sources{Environ: row.env})
			require.NoError(t, err)
			assert.Equal(t, row.want, cfg.Webhooks.AllowPrivate)
		})
	}
}

func TestAdmissionKeys(t *testing.T) {
	const good = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	cfg, err := config.Load(config.Sources{File: write(t, "c.yaml", "webhooks: {admission_url: 'http://127.0.0.1:9/x', admission_secret_file: "+write(t, "s", good+"\n")+"}")})
	require.NoError(t, err)
	assert.Equal(t, good, cfg.Webhooks.AdmissionSecret.Reveal())
	for text, want := range map[string]string{
		"admission_url: ftp://h":        "webhooks.admission_url",
		"admission_url: http://u:p@h/":  "webhooks.admission_url",
		"admission_url: http://h/#f":    "webhooks.admission_url",
		"admission_url: 127.0.0.1":      "webhooks.admission_url",
		"admission_fail_open: true":     "need admission_url",
		"admission_secret: " + good:     "need admission_url",
		"admission_secret: secretvalue": "webhooks.admission_secret",
	} {
		_, err := config.Load(config.Sources{File: write(t, "c.yaml", "webhooks: {"+text+"}")})
		require.ErrorContains(t, err, want, text)
		assert.NotContains(t, err.Error(), "secretvalue")
	}
}
