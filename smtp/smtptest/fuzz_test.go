package smtptest_test

import (
	"io"
	"net"
	"strconv"
	"testing"

	"github.com/postrider/postrider/smtp/smtptest"
)

func itoa(n int) string { return strconv.Itoa(n) }

// FuzzSession says anything to the server, which must neither panic nor hang.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"EHLO x\r\n" + envelope + "DATA\r\n..\r\n.\r\nQUIT\r\n",
		"EHLO x\r\n" + envelope + "BDAT 3\r\nabcBDAT 0 LAST\r\nRSET\r\n",
		"HELO x\r\nSTARTTLS\r\n\x16\x03\x01\x00\x05hello",
		"EHLO x\r\nAUTH LOGIN\r\nYQ==\r\nYQ==\r\nAUTH SCRAM-SHA-1 bixhPSxuPWEscj1i\r\n*\r\n",
		"EHLO x\r\nAUTH CRAM-MD5\r\nYQ==\r\nAUTH OAUTHBEARER bixhPWEsAQE=\r\n\r\n",
		"BDAT 18446744073709551616 LAST\r\nBDAT 9223372036854775807\r\n",
		"MAIL FROM:<\"\\\"@x> SIZE\r\nRCPT TO:<>>\r\n\x00\n\r.\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		srv, err := smtptest.New(smtptest.Config{Users: map[string]string{"a": "b"}, MaxSize: 1000})
		if err != nil {
			t.Fatal(err)
		}
		srv.On(smtptest.Rule{Command: "RCPT", Nth: 2, Action: smtptest.Reply("550 no")})
		srv.On(smtptest.Rule{Command: "DATA", Nth: 2, Action: smtptest.Reply("354 go")})
		client, server := net.Pipe()
		srv.ServeConn(server)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(io.Discard, client)
		}()
		_, _ = client.Write(said) // the server may have closed
		_ = client.Close()
		<-done
		if err := srv.WaitSessionsClosed(t.Context(), 1); err != nil {
			t.Error(err)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
}
