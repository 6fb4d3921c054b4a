package mail_test

import (
	"fmt"
	"io"
	"strings"

	"github.com/postrider/postrider/mail"
)

// A newsletter with two bodies, a picture in the HTML and a file.
func ExampleMessage_Compose() {
	logo := mail.BytesAttachment("logo.png", []byte("…"))
	logo.ContentID = "logo" // <img src="cid:logo"> in the HTML
	m := mail.Message{
		From:                mail.Addr("Zoë <zoe@example.com>"),
		To:                  mail.Addrs("Bob <bob@example.net>"),
		Bcc:                 mail.Addrs("archive@example.com"),
		Subject:             "Grüße aus München",
		Text:                "Hello Bob!",
		HTML:                `<p>Hello Bob!</p><img src="cid:logo">`,
		Attachments:         []mail.Attachment{logo, mail.BytesAttachment("Preisliste für Bob.pdf", []byte("…"))},
		ListUnsubscribe:     []string{"https://example.com/leave/bob"},
		ListUnsubscribePost: true,
	}
	composed, err := m.Compose(nil)
	if err != nil {
		fmt.Println(err) // all faults, each with its field
		return
	}
	n, err := composed.WriteTo(io.Discard) // as often as needed, always the same octets
	fmt.Println(n == composed.Size(), err)
	fmt.Println(composed.Envelope().RcptTo)
	// Output:
	// true <nil>
	// [bob@example.net archive@example.com]
}

// A message that another program made, with bare line feeds and a Bcc.
func ExampleComposeRaw() {
	const raw = "From: Zoë <zoe@example.com>\nTo: bob@example.net\nBcc: archive@example.com\n" +
		"Date: Fri, 2 Jan 2026 15:04:05 +0100\nMessage-ID: <1@example.com>\n\nHello Bob!"
	composed, err := mail.ComposeRaw(func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(raw)), nil // or os.Open
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	var out strings.Builder
	if _, err := composed.WriteTo(&out); err != nil {
		fmt.Println(err)
	}
	fmt.Print(strings.ReplaceAll(out.String(), "\r\n", "\n"))
	fmt.Println(composed.Envelope().RcptTo, composed.Envelope().SMTPUTF8)
	// Output:
	// From: Zoë <zoe@example.com>
	// To: bob@example.net
	// Date: Fri, 2 Jan 2026 15:04:05 +0100
	// Message-ID: <1@example.com>
	//
	// Hello Bob!
	// [bob@example.net archive@example.com] true
}

// A message for relays without 8BITMIME.
func ExampleComposed_Downgrade() {
	m := mail.Message{From: mail.Addr("zoe@example.com"), To: mail.Addrs("bob@example.net"), Text: "Grüße"}
	composed, err := m.Compose(&mail.ComposeOptions{EightBit: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	clean, err := composed.Downgrade()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(composed.Envelope().EightBit, clean.Envelope().EightBit, composed.MessageID() == clean.MessageID())
	// Output: true false true
}
