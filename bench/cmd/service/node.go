package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// node is one process of the service.
type node struct {
	cmd    *exec.Cmd
	log    *os.File
	url    string
	client *http.Client
	begun  time.Time
	ready  time.Duration // from the start of the process to the first 200 of /readyz
}

// startNode starts one more node of a lab, without waiting for it.
func startNode(ctx context.Context, l *lab) (*node, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	n := &node{url: "http://" + address, client: newClient()}
	name := "node-" + strconv.Itoa(len(l.nodes)+1)
	if n.log, err = os.Create(filepath.Join(l.dir, name+".log")); err != nil {
		return nil, err
	}
	n.cmd = l.program(context.WithoutCancel(ctx), "serve")
	n.cmd.Env = append(n.cmd.Env, "POSTRIDER_LISTEN="+address)
	n.cmd.Stdout, n.cmd.Stderr = n.log, n.log
	n.begun = time.Now()
	if err := n.cmd.Start(); err != nil {
		return nil, errors.Join(err, n.log.Close())
	}
	return n, nil
}

// wait waits until the node is ready.
func (n *node) wait(ctx context.Context) error {
	for time.Since(n.begun) < 20*time.Second && ctx.Err() == nil {
		if res, err := n.client.Get(n.url + "/readyz"); err == nil {
			_, _ = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				n.ready = time.Since(n.begun)
				return nil
			}
		}
		time.Sleep(2 * time.Millisecond) //nolint:forbidigo // a process of its own tells nobody that it listens
	}
	text, _ := os.ReadFile(n.log.Name())
	return fmt.Errorf("the service was not ready within 20 s: %.2000s", text)
}

// stop ends the node and waits for it.
func (n *node) stop() error {
	n.client.CloseIdleConnections()
	return errors.Join(n.cmd.Process.Signal(syscall.SIGTERM), n.cmd.Wait(), n.log.Close())
}

// kill ends the node at once: for one that has more to send than anybody wants to wait for.
func (n *node) kill() error {
	n.client.CloseIdleConnections()
	err := n.cmd.Process.Kill()
	_ = n.cmd.Wait() // it says that it was killed
	return errors.Join(err, n.log.Close())
}

// memory is the resident memory of the process in MB: VmRSS now, VmHWM at most.
func (n *node) memory(name string) (float64, error) {
	kb, err := memoryOf(n.cmd.Process.Pid, "status", name)
	if err == nil && kb == 0 {
		err = fmt.Errorf("the kernel tells no %s", name)
	}
	return kb / 1024, err
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxConnsPerHost: 256}, Timeout: time.Minute}
}

func freeAddress() (string, error) {
	n, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return n.Addr().String(), n.Close()
}
