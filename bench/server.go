package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 15 * time.Second // of a server, until it is ready
	stopTimeout  = 20 * time.Second // of a server, after SIGTERM
	readyPoll    = 20 * time.Millisecond
)

// target is the server that is measured.
type target struct {
	whip, whep string
	process    process // pid 0: unknown
	child      *child  // nil when the server is not ours
}

// target is the server of the configuration, or a new one.
func (c Config) target(ctx context.Context) (*target, error) {
	if !c.ownServer() {
		return &target{whip: c.WHIP, whep: c.WHEP, process: process{c.PID}}, nil
	}
	t, err := startServer(ctx, c.Serve, c.ServeEnv)
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	return t, nil
}

// usage is what the server's process has used; zeros when it is unknown.
func (t *target) usage() (Usage, error) {
	if t.process.pid == 0 {
		return Usage{}, nil
	}
	return t.process.usage()
}

func (t *target) stop() error {
	if t.child == nil {
		return nil
	}
	return t.child.stop()
}

// printedURL finds the base URL and a router in what the server prints.
var printedURL = regexp.MustCompile(`(https?://[^\s/]+)/whip/([A-Za-z0-9._~-]+)/`)

// startServer runs a server and returns when it is ready.
func startServer(ctx context.Context, command, environment []string) (*target, error) {
	child, stdout, err := startChild(command, environment, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	base, router, err := readURLs(ctx, child, stdout)
	if err == nil {
		err = awaitReady(ctx, base+"/readyz")
	}
	if err != nil {
		return nil, errors.Join(err, child.stop())
	}
	path := router + "/bench{n}"
	return &target{whip: base + "/whip/" + path, whep: base + "/whep/" + path, process: process{child.pid()}, child: child}, nil
}

// readURLs waits for the line with the WHIP URL, and lets the rest of the output flow away.
func readURLs(ctx context.Context, c *child, stdout io.Reader) (base, router string, err error) {
	found := make(chan []string, 1) // one match, or none at the end of the output
	c.tasks.Go(func() {
		defer close(found)
		lines := bufio.NewScanner(stdout)
		for sent := false; lines.Scan(); {
			if match := printedURL.FindStringSubmatch(lines.Text()); match != nil && !sent {
				sent = true
				found <- match
			}
		}
	})
	select {
	case match, ok := <-found:
		if !ok {
			return "", "", errors.New("it ended without printing a WHIP URL")
		}
		return match[1], match[2], nil
	case <-ctx.Done():
		return "", "", fmt.Errorf("it printed no WHIP URL: %w", ctx.Err())
	}
}

func awaitReady(ctx context.Context, url string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := pause(ctx, readyPoll); err != nil {
			return fmt.Errorf("%s: %w", url, err)
		}
	}
}

// startChild runs a process. Its standard error is ours.
func startChild(command, environment []string, stdin io.Reader) (*child, io.Reader, error) {
	if len(command) == 0 {
		return nil, nil, errors.New("no command line")
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), environment...)
	cmd.Stdin, cmd.Stderr = stdin, os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	return &child{cmd: cmd}, stdout, nil
}

// child is a process of ours.
type child struct {
	cmd   *exec.Cmd
	tasks sync.WaitGroup // readers of its output
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop asks the process to end, and after a while makes it.
func (c *child) stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	hard := time.AfterFunc(stopTimeout, func() { _ = c.cmd.Process.Kill() })
	defer hard.Stop()
	c.tasks.Wait() // the output is read to its end before Wait closes it
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("stop %s: %w", c.cmd.Path, err)
	}
	return nil
}
