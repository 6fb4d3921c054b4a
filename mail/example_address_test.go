package mail_test

import (
	"fmt"
	"strings"

	"github.com/postrider/postrider/mail"
)

func ExampleParseAddress() {
	a, err := mail.ParseAddress(`"Example, Zoë" <zoe@bücher.example>`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.Name)
	fmt.Println(a.Mailbox())

	_, err = mail.ParseAddress("user@example")
	fmt.Println(err)
	// Output:
	// Example, Zoë
	// zoe@xn--bcher-kva.example
	// address "user@example" needs a domain with at least two labels (user@example.com)
}

func ExampleParseAddressList() {
	list, err := mail.ParseAddressList(`"Doe, John" <john@example.com>, zoe@example.com`)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, a := range list {
		fmt.Println(a)
	}
	// Output:
	// "Doe, John" <john@example.com>
	// zoe@example.com
}

func ExampleMessage_Validate() {
	m := &mail.Message{
		From:        mail.Addr("zoe@example.com"),
		To:          mail.Addrs("john@example.com", "user@@example.com"),
		Subject:     "Report\r\nBcc: everyone@example.com",
		Text:        "As promised.",
		Attachments: []mail.Attachment{mail.Base64Attachment("report.pdf", "JVBERi0xLjc")},
	}
	for _, f := range m.Validate(nil) {
		fmt.Printf("%s (%s)\n", f, f.Code)
	}
	// Output:
	// to[1]: address "user@@example.com" has more than one @; write it as user@example.com (invalid_address)
	// subject: subject has a line break at octet 6; remove it (control_character)
	// attachments[0].content: base64 text has 11 characters, not a multiple of 4; it is cut off or its = padding is missing (invalid_base64)
}

func ExampleLimits() {
	// Recipients without a limit, everything else by default.
	limits := &mail.Limits{Recipients: -1, SubjectOctets: 78}
	fmt.Println(mail.ValidateSubject("A subject that no line of a terminal will ever show in one piece, however wide it is", limits))
	// Output:
	// subject: subject has 84 octets; at most 78 are allowed
}

func ExampleToUTF8() {
	// See [mail.Message.TextFrom] for bodies that come from a file.
	r, err := mail.ToUTF8("iso-8859-1", strings.NewReader("Gr\xfc\xdfe"))
	if err != nil {
		fmt.Println(err)
		return
	}
	var text string
	_, err = fmt.Fscan(r, &text)
	fmt.Println(text, err)
	// Output:
	// Grüße <nil>
}
