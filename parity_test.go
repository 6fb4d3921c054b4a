package postrider_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider"
	"github.com/postrider/postrider/mail"
	"github.com/postrider/postrider/retry"
	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

// parity lists what the Python service whose work this library takes over
// promised of its SMTP side: for each promise the tests that show that it is
// kept, as package directory and name, and what is not shown elsewhere.
var parity = []struct {
	promise string
	shownBy []string
	direct  func(t *testing.T)
}{
	{"TLS modes", []string{"smtp.TestTLSMode", ".TestRealPlain", ".TestRealAuthentication", ".TestRealNoSTARTTLS"}, parityTLSModes},
	{"status words", []string{".TestStatus", ".TestRealMixedRecipients"}, parityStatusWords},
	{"delivery result", []string{".TestResultJSON", ".TestStatus", ".TestRealMixedRecipients"}, nil},
	{"message validator", []string{"mail.TestValidateAlone", "mail.TestValidateReportsAllFaults", "mail.TestBase64AttachmentFaults", ".TestInvalidMessageIsNotSent"}, nil},
	{"size limits", []string{"mail.TestLimits", "mail.TestAddressLimits", "mail.TestAddressLimitsAreAdjustable", "mail.TestBase64AttachmentConstantMemory"}, parityLimits},
	{"address rules", []string{"mail.TestParseAddress", "mail.TestParseAddressFaults", "mail.FuzzParseAddress", ".TestRealSMTPUTF8"}, parityAddresses},
	{"connection pool", []string{
		"smtppool.TestCapAndOrder", "smtppool.TestReuse", "smtppool.TestIdleExpiry", "smtppool.TestMaxAge",
		"smtppool.TestSetSeparatesUsers", "smtppool.TestBrokenIsNotReturned", ".TestRealCutConnections", ".TestRoundTripsAfterARefusal",
	}, parityPool},
	{"protocol handler", []string{".TestCheck", ".TestCheckRefusesAForeignCertificate", ".TestRealAuthentication", "smtppool.TestClose", ".TestEveryMessageIsAccountedFor"}, nil},
	{"parameters of a message", []string{".TestRealContent", ".TestRealBcc", ".TestBccIsSentAndNotSeen", "mail.TestNoInjection", "mail.TestReservedHeaders"}, parityParameters},
	{"MIME", []string{".TestRealContent", ".TestRealLargeAttachment", "mail.TestComposeGolden", "mail.TestToUTF8"}, nil},
	{"retries", []string{".TestStatus", ".TestRealGreylisting", ".TestRealLostReply", ".TestRealMixedRecipients", ".TestSameOctetsOnEveryAttempt", "retry.TestNext"}, parityRetries},
	{"classes of errors", []string{"smtp.TestOutcome", "smtp.TestOpenFailure"}, parityClasses},
	{"delivery tracking", []string{".TestRealMixedRecipients", ".TestTooManyRecipientsGoOnAtOnce"}, nil},
	{"thread safety", []string{".TestEveryMessageIsAccountedFor", "smtppool.TestStress", "mail.TestWriteToConcurrently"}, nil},
	{"performance", []string{".TestRoundTripsOfTheFirstMessage", ".TestRoundTripsOnAWarmConnection", ".TestRoundTripsAfterARefusal", "mail.TestConstantMemory"}, nil},
}

// TestParity checks that each promise has its tests and runs what is left over.
func TestParity(t *testing.T) {
	names := map[string]string{}
	for _, p := range parity {
		t.Run(p.promise, func(t *testing.T) {
			for _, test := range p.shownBy {
				dir, name, _ := strings.Cut(test, ".")
				if _, ok := names[dir]; !ok {
					names[dir] = testsIn(t, dir)
				}
				if !strings.Contains(names[dir], "\n"+name+"\n") {
					t.Errorf("directory %q has no %s any more", dir, name)
				}
			}
			if p.direct != nil {
				p.direct(t)
			}
		})
	}
}

var testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// testsIn gives the names of a directory's test functions, each on its line.
func testsIn(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files in %q: %v", dir, err)
	}
	names := "\n"
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testFunction.FindAllSubmatch(source, -1) {
			names += string(m[1]) + "\n"
		}
	}
	return names
}

func parityTLSModes(t *testing.T) {
	for word, port := range map[string]int{"none": 25, "tls": 587, "ssl": 465} {
		mode, err := smtp.ParseTLSMode(word)
		if err != nil || string(mode) != word || mode.DefaultPort() != port {
			t.Errorf("%s: %v, port %d, %v", word, mode, mode.DefaultPort(), err)
		}
		relay, err := postrider.ParseRelay("smtp://mail.example.com?tls=" + word)
		if err != nil || relay.Port != port || relay.TLSMode != mode {
			t.Errorf("%s: %v, %v", word, relay, err)
		}
	}
	if _, err := postrider.ParseRelay("smtp://mail.example.com?tls=perhaps"); err == nil {
		t.Error("an unknown mode was taken")
	}
}

func parityStatusWords(t *testing.T) {
	words := []postrider.Status{
		postrider.StatusSuccess, postrider.StatusFailed, postrider.StatusRetry, postrider.StatusInvalid,
		postrider.StatusRejected, postrider.StatusTempFailed, postrider.StatusPartial, postrider.StatusUnknown,
	}
	if got := fmt.Sprint(words); got != "[success failed retry invalid rejected temp_failed partial unknown]" {
		t.Error(got)
	}
}

func parityLimits(t *testing.T) {
	l := mail.DefaultLimits()
	if l.AddressOctets != 254 || l.LocalPartOctets != 64 || l.SubjectOctets != 998 || l.TextOctets != 100<<20 || l.HTMLOctets != 100<<20 ||
		l.AttachmentOctets != 25<<20 || l.AttachmentsOctets != 100<<20 || l.Recipients != 100 {
		t.Errorf("%+v", l)
	}
	// Recipients count over To, Cc and Bcc.
	m := letter()
	for i := range 101 {
		a := mail.Addr(fmt.Sprintf("r%d@example.net", i))
		switch i % 3 {
		case 0:
			m.To = append(m.To, a)
		case 1:
			m.Cc = append(m.Cc, a)
		default:
			m.Bcc = append(m.Bcc, a)
		}
	}
	if faults := m.Validate(nil); len(faults) != 1 || faults[0].Code != mail.CodeTooMany {
		t.Errorf("101 recipients: %v", faults)
	}
	if faults := m.Validate(&mail.Limits{Recipients: 101}); faults != nil {
		t.Errorf("101 recipients, allowed: %v", faults)
	}
}

func parityAddresses(t *testing.T) {
	for address, valid := range map[string]bool{
		"user@example": false, "@example.com": false, "user@@example.com": false, "user+tag@sub.example.com": true,
		"user..name@example.com": false, ".user@example.com": false, "user.@example.com": false, "user@example..com": false,
		`"quoted local"@example.com`: true, "zoë@example.com": true, "zoe@bücher.example": true,
	} {
		if _, err := mail.ParseAddress(address); (err == nil) != valid {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func parityPool(t *testing.T) {
	server := start(t, smtptest.Config{})
	client := dial(t, server, "", postrider.Config{})
	for range 3 {
		if _, err := client.Send(t.Context(), letter("ann@example.net")); err != nil {
			t.Fatal(err)
		}
	}
	stats := client.Stats()
	if stats.MaxConns != 10 || stats.Dialled != 1 || stats.Reused != 2 || stats.Idle != 1 || stats.Open != 1 {
		t.Errorf("%+v", stats)
	}
	if n := server.Stats().Commands["NOOP"]; n != 0 {
		t.Errorf("%d NOOP", n)
	}
	if _, err := smtppool.New(nil, smtppool.Config{}); err == nil {
		t.Error("a pool of nothing was made")
	}
}

func parityParameters(t *testing.T) {
	m := letter("to@example.net")
	m.Header = []mail.Field{{Name: "X-Tag", Value: "one\r\nBcc: everybody@example.com"}, {Name: "Subject", Value: "again"}, {Name: "X-A\r\nB", Value: "x"}}
	m.Attachments = []mail.Attachment{mail.Base64Attachment("a.txt", "not base64!")}
	var fields []string
	for _, f := range m.Validate(nil) {
		fields = append(fields, f.Field)
	}
	for _, want := range []string{"headers[0].value", "headers[1]", "headers[2].name", "attachments[0].content"} {
		if !slices.ContainsFunc(fields, func(f string) bool { return strings.HasPrefix(f, want) }) {
			t.Errorf("no fault of %s among %v", want, fields)
		}
	}
}

func parityRetries(t *testing.T) {
	s := retry.Default()
	if !slices.Equal(s.Delays, []time.Duration{time.Second, 5 * time.Second, 30 * time.Second}) || s.Base != 0 || s.Jitter == 0 {
		t.Errorf("%+v", s)
	}
	// Every 4yz and a network error are tried again, 3 times and no more.
	for _, rule := range []smtptest.Rule{
		on("MAIL", "", smtptest.Close421("4.3.2 later")), on("MAIL", "", smtptest.Reply("450 4.2.1 busy")),
		on("RCPT", "", smtptest.Reply("451 4.3.0 later")), on("RCPT", "", smtptest.Reply("452 4.3.1 no room")),
		on("MAIL", "", smtptest.Reply("455 4.5.0 not now")), on(smtptest.CommandContent, "", smtptest.Reply("499 later")),
		on("EHLO", "", smtptest.Drop()), on(smtptest.CommandConnect, "", smtptest.Reset()),
	} {
		for _, times := range []int{3, 4} {
			server := start(t, smtptest.Config{}, first(times, rule))
			result, err := dial(t, server, "", postrider.Config{Retry: quick(4)}).Send(t.Context(), letter("ann@example.net"))
			if (err == nil) != (times == 3) || result.RetryCount != 3 {
				t.Errorf("%s, %d failures: status %s, %d retries: %v", rule.Command, times, result.Status, result.RetryCount, err)
			}
		}
	}
}

func parityClasses(t *testing.T) {
	for reply, transient := range map[string]bool{
		"421 4.3.2 x": true, "450 4.2.1 x": true, "451 4.3.0 x": true, "452 4.3.1 x": true,
		"550 5.1.1 x": false, "552 5.3.4 x": false, "553 5.1.3 x": false, "554 5.0.0 x": false, "550 4.1.1 x": false,
	} {
		server := start(t, smtptest.Config{}, on("RCPT", "", smtptest.Reply(reply)))
		_, err := dial(t, server, "", postrider.Config{Retry: quick(1)}).Send(t.Context(), letter("ann@example.net"))
		if smtp.IsTransient(err) != transient || smtp.IsPermanent(err) == transient || smtp.MaybeAccepted(err) {
			t.Errorf("%s: transient %t, permanent %t: %v", reply, smtp.IsTransient(err), smtp.IsPermanent(err), err)
		}
	}
}
