// Command testsum runs go test, once for each module named, and closes with one honest
// count.
//
// Go prints a package as "ok" when half of its tests were skipped. Here every skipped
// test is named with its reason, tests that wanted a real mail server and found none
// stand apart, and the last line reads "N passed, N failed, N skipped". A test with
// subtests is counted through these only, so that a group whose members were all
// skipped is not one that passed.
//
// A real-server test is one whose reason for skipping contains "real server:"; package
// relaytest words its reasons so. With POSTRIDER_TEST_REQUIRE_SERVERS=1 such a
// skip counts as failed.
//
// It does not choose the tests or their flags: the Makefile does, which is its caller.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// requireServers is the variable that turns the skip of a real-server test into a failure.
const requireServers = "POSTRIDER_TEST_REQUIRE_SERVERS"

// maxLine bounds one line of go test's output, in octets: a failing comparison of whole
// messages prints them on one line.
const maxLine = 16 << 20

func main() {
	modules := flag.String("modules", ".", "directories of the modules to test, separated by commas")
	note := flag.String("note", "", "a line to print above the count, such as what was left out")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: testsum [-modules DIR,...] [-note TEXT] -- [flags and packages of go test]")
		flag.PrintDefaults()
	}
	flag.Parse()

	tally := newTally(os.Stdout)
	for dir := range strings.SplitSeq(*modules, ",") {
		if err := runModule(dir, flag.Args(), tally); err != nil {
			fmt.Fprintln(os.Stderr, "testsum:", err)
			os.Exit(1)
		}
	}
	if !tally.close(os.Getenv(requireServers) == "1", *note) {
		os.Exit(1)
	}
}

// runModule runs the tests of the module in dir and adds what they did to t. Its error
// says that go test could not be run or read; failed tests are t's to tell.
func runModule(dir string, args []string, t *tally) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("go test in %s: %w", dir, err)
	}
	failedBefore := t.failures()
	readErr := readEvents(out, t)
	waitErr := cmd.Wait()
	if readErr != nil {
		return fmt.Errorf("go test in %s: %w", dir, readErr)
	}
	if _, exited := errors.AsType[*exec.ExitError](waitErr); waitErr != nil && !exited {
		return fmt.Errorf("go test in %s: %w", dir, waitErr)
	}
	if waitErr != nil && t.failures() == failedBefore {
		// It failed without a failing test: a wrong flag, a package that is not there.
		t.fail(dir, "go test: "+waitErr.Error())
	}
	return nil
}

// readEvents hands each event of go test -json to t. A line that is none, such as a
// complaint of the go command itself, is printed as it is.
func readEvents(r io.Reader, t *tally) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Action == "" {
			fmt.Fprintln(t.out, lines.Text())
			continue
		}
		t.add(e)
	}
	if err := lines.Err(); err != nil {
		_, _ = io.Copy(io.Discard, r) // lets go test end
		return err
	}
	return nil
}
