package smtptest_test

import (
	"context"
	"fmt"
	"net/smtp"
	"time"

	"github.com/postrider/postrider/smtp/smtptest"
)

func ExampleStart() {
	srv, err := smtptest.Start(smtptest.Config{Without: []string{"STARTTLS"}})
	if err != nil {
		panic(err)
	}
	defer srv.Close()

	err = smtp.SendMail(srv.Addr(), nil, "ann@example.com", []string{"bob@example.com"}, []byte("Subject: hello\r\n\r\nHi.\r\n"))
	if err != nil {
		panic(err)
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	got, err := srv.WaitTransactions(ctx, 1)
	if err != nil {
		panic(err)
	}
	fmt.Println(got[0].MailFrom.Address, got[0].Recipients(), got[0].Size)
	// Output: ann@example.com [bob@example.com] 23
}

func ExampleServer_On() {
	srv, err := smtptest.Start(smtptest.Config{})
	if err != nil {
		panic(err)
	}
	defer srv.Close()
	// The second recipient of the first connection is refused for now, and
	// every message is taken without a reply.
	srv.On(smtptest.Rule{Command: "RCPT", Nth: 2, Session: 1, Action: smtptest.Reply("450 4.2.1 come back later")})
	srv.On(smtptest.Rule{Command: smtptest.CommandContent, Action: smtptest.Sequence(smtptest.Accept(), smtptest.Drop())})

	c, err := smtp.Dial(srv.Addr())
	if err != nil {
		panic(err)
	}
	defer c.Close()
	fmt.Println(c.Mail("ann@example.com"))
	fmt.Println(c.Rcpt("bob@example.com"))
	fmt.Println(c.Rcpt("cy@example.com") != nil)
	w, err := c.Data()
	if err != nil {
		panic(err)
	}
	fmt.Println(w.Close())
	fmt.Println(srv.Transactions()[0].Recipients())
	// Output:
	// <nil>
	// <nil>
	// true
	// EOF
	// [bob@example.com]
}

// A test under testing/synctest makes the server without a listener and connects
// by a pipe.
func ExampleServer_PipeDial() {
	srv, err := smtptest.New(smtptest.Config{})
	if err != nil {
		panic(err)
	}
	defer srv.Close()
	conn, err := srv.PipeDial(context.Background(), "tcp", "localhost:587")
	if err != nil {
		panic(err)
	}
	c, err := smtp.NewClient(conn, "localhost")
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Quit())
	// Output: <nil>
}
