package smtptest_test

import (
	netsmtp "net/smtp"
	"testing"

	"github.com/postrider/postrider/smtp/smtptest"
)

// TestNetSMTP sends with the standard library's client, an independent peer.
func TestNetSMTP(t *testing.T) {
	srv := smtptest.StartT(t, smtptest.Config{})
	err := netsmtp.SendMail(srv.Addr(), nil, "ann@example.com", []string{"bob@example.com", "cy@example.com"},
		[]byte("Subject: x\r\n\r\n.dot\r\n"))
	if err == nil {
		t.Fatal("net/smtp does not trust our authority, and yet it sent")
	}
	srv = smtptest.StartT(t, smtptest.Config{Without: []string{"STARTTLS"}})
	err = netsmtp.SendMail(srv.Addr(), nil, "ann@example.com", []string{"bob@example.com", "cy@example.com"},
		[]byte("Subject: x\r\n\r\n.dot\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := srv.WaitTransactions(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].MailFrom.Address != "ann@example.com" || len(got[0].Recipients()) != 2 ||
		got[0].Text() != "Subject: x\r\n\r\n.dot\r\n" || got[0].Flights != 5 {
		t.Errorf("got %+v\n%s", got, srv.Sessions()[0].Dialogue())
	}
}
