//go:build linux

package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDeployImage puts the files of the Containerfile's last stage into a directory and runs its program there as a container
// does: with that directory as root, as its user without rights, with its environment and nothing else. So the program needs no
// shell, no library, no user database and no place to write but its data directory.
func TestDeployImage(t *testing.T) {
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("needs root, for chroot, and builds the program")
	}
	c := readContainerfile(t)
	out := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(out, "postrider"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	root := openRoot(t)
	var environ []string
	for _, line := range c.lines {
		switch words := strings.Fields(line[1]); line[0] {
		case "COPY":
			source, target := words[len(words)-2], filepath.Join(root, words[len(words)-1])
			if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
				t.Fatal(err)
			}
			switch source {
			case "/out/postrider":
				copyFile(t, filepath.Join(out, "postrider"), target, 0o755)
			case "/out/data":
				if err := os.Mkdir(target, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Chown(target, 65532, 65532); err != nil {
					t.Fatal(err)
				}
			case "/etc/ssl/certs/ca-certificates.crt":
				if fileExists(source) {
					copyFile(t, source, target, 0o644)
				}
			default:
				t.Errorf("the image holds %s, which this test knows nothing of", source)
			}
		case "ENV":
			environ = append(environ, line[1])
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	environ = append(environ, "POSTRIDER_LISTEN="+address)
	container := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Path, cmd.Err, cmd.Dir, cmd.Env = args[0], nil, "/", environ
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		return cmd
	}
	if text, err := container(append(c.entry, "setup", "--tenant", "acme", "--email", "ann@example.com")...).CombinedOutput(); err != nil {
		t.Fatalf("setup: %v: %s", err, text)
	}
	if text, err := container(c.health...).CombinedOutput(); err == nil {
		t.Errorf("it is healthy before it runs: %s", text)
	}
	serving := container(append(c.entry, c.cmd...)...)
	var log bytes.Buffer
	ready, told := io.Pipe()
	serving.Stdout, serving.Stderr = told, &log
	if err := serving.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := serving.Wait()
		_ = told.Close()
		ended <- err
	}()
	line := make([]byte, 200)
	if n, err := ready.Read(line); err != nil || !bytes.HasPrefix(line[:n], []byte("serving ")) {
		t.Fatalf("%v: %s%s", err, line[:n], log.Bytes())
	}
	if text, err := container(c.health...).CombinedOutput(); err != nil {
		t.Errorf("it is not healthy: %v: %s", err, text)
	}
	if err := serving.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("serve: %v: %s", err, log.Bytes())
	}
}

// openRoot is a new directory that a user without rights gets to.
func openRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "postrider-image-") // not t.TempDir: what is above that is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, b, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
}
