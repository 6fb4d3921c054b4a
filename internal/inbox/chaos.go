package inbox

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/postrider/postrider/smtp/smtptest"
)

// ChaosHelp explains the language of ParseChaos in one screen.
const ChaosHelp = `WHEN is COMMAND[/TEXT][#N][%P]:
  COMMAND  connect, greeting, ehlo, starttls, auth, mail, rcpt, data, bdat,
           content (after the whole content), rset, noop, quit
  /TEXT    only if the argument holds TEXT, for example rcpt/bob@
  #N       only the Nth time
  %P       only in P of 100 cases, by chance
WHAT is one of
  a reply, such as "451 4.7.1 try later"; 421 also closes the connection
  drop     close without a word
  reset    break the connection (TCP RST)
  silence  never answer again
  garbage  answer what is no reply
  lost     take the message and close before the reply; with content only
  delay D  answer as usual, but after D, for example 3s`

// ParseChaos reads one instruction to misbehave; ChaosHelp is its grammar. Its
// error names the part at fault and shows one that is right.
func ParseChaos(s string) (smtptest.Rule, error) {
	r, err := parseChaos(s)
	if err != nil {
		return smtptest.Rule{}, fmt.Errorf("%q: %w; write for example 'rcpt/bob@=550 5.1.1 no such user'", s, err)
	}
	return r, nil
}

func parseChaos(s string) (r smtptest.Rule, err error) {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return r, errors.New("it holds a control character")
	}
	when, what, ok := strings.Cut(s, "=")
	if !ok {
		return r, errors.New("there is no = between when and what")
	}
	if at := strings.LastIndexByte(when, '%'); at >= 0 {
		percent, err := strconv.ParseFloat(when[at+1:], 64)
		// Written so that NaN is refused too.
		if err != nil || !(percent > 0 && percent <= 100) {
			return r, fmt.Errorf("%q is not a percentage over 0 and up to 100", when[at+1:])
		}
		r.Chance, when = percent/100, when[:at]
	}
	if at := strings.LastIndexByte(when, '#'); at >= 0 {
		n, err := strconv.Atoi(when[at+1:])
		if err != nil || n < 1 {
			return r, fmt.Errorf("%q is not a number from 1 on", when[at+1:])
		}
		r.Nth, when = n, when[:at]
	}
	command, match, _ := strings.Cut(when, "/")
	r.Command, r.Match = strings.ToUpper(strings.TrimSpace(command)), match
	switch r.Command {
	case "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "QUIT", "NOOP",
		smtptest.CommandConnect, smtptest.CommandGreeting, smtptest.CommandContent:
	default:
		return r, fmt.Errorf("%q is not a command", strings.TrimSpace(command))
	}
	r.Action, err = parseAction(r.Command, strings.TrimSpace(what))
	return r, err
}

func parseAction(command, s string) (smtptest.Action, error) {
	none := smtptest.Action{}
	word, rest, _ := strings.Cut(s, " ")
	rest = strings.TrimSpace(rest)
	if code, err := strconv.Atoi(word); err == nil {
		if code < 200 || code > 599 || len(word) != 3 {
			return none, fmt.Errorf("%s is not a reply code", word)
		}
		if rest == "" {
			rest = "as told"
		}
		if code == 421 { // RFC 5321 §3.8: who says 421 closes
			return smtptest.Close421(rest), nil
		}
		return smtptest.Reply(word + " " + rest), nil
	}
	word = strings.ToLower(word)
	if word == "delay" {
		d, err := time.ParseDuration(rest)
		if err != nil || d <= 0 {
			return none, fmt.Errorf("%q is not a duration such as 3s", rest)
		}
		return smtptest.Delay(d, smtptest.Proceed()), nil
	}
	if rest != "" {
		return none, fmt.Errorf("%q is not an action", s)
	}
	switch word {
	case "drop":
		return smtptest.Drop(), nil
	case "reset":
		return smtptest.Reset(), nil
	case "silence":
		return smtptest.Silence(), nil
	case "garbage":
		return smtptest.Garbage(), nil
	case "lost":
		if command != smtptest.CommandContent {
			return none, errors.New("lost goes with content only: content=lost")
		}
		return smtptest.Sequence(smtptest.Accept(), smtptest.Drop()), nil
	default:
		return none, fmt.Errorf("%q is not an action", s)
	}
}
