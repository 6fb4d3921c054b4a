package smtppool_test

import (
	"context"
	"fmt"

	"github.com/postrider/postrider/smtp"
	"github.com/postrider/postrider/smtp/smtptest"
	"github.com/postrider/postrider/smtppool"
)

func ExamplePool_Send() {
	server, err := smtptest.Start(smtptest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	dialer, err := smtp.NewDialer(smtp.Config{Host: server.Host(), Port: server.Port(), TLSMode: smtp.TLSNone})
	if err != nil {
		fmt.Println(err)
		return
	}
	pool, err := smtppool.New(dialer, smtppool.Config{MaxConns: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer pool.Close(ctx)

	for range 3 {
		out, err := pool.Send(ctx,
			&smtp.Envelope{MailFrom: "ann@example.com", RcptTo: []smtp.Recipient{{Address: "bob@example.com"}}},
			smtp.Bytes([]byte("Subject: hello\r\n\r\nhello\r\n")))
		fmt.Println(out.Recipients[0].Reply.Code, err)
	}
	fmt.Println("sessions opened:", pool.Stats().Dialled)
	// Output:
	// 250 <nil>
	// 250 <nil>
	// 250 <nil>
	// sessions opened: 1
}
