package smtptest

// scramUsers remembers what SCRAM needs of each user.
type scramUsers struct{}

func newScramUsers() *scramUsers { return &scramUsers{} }

func mechanismNames() []string {
	return []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2"}
}

func (d *dialogue) auth(string) verdict {
	return verdict{reply: d.say(502, "5.5.1", "AUTH is not offered")}
}
