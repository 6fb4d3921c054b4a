package relaytest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// eximName is the user whom Debian's Exim looks up by name at start.
	eximName = "Debian-exim"
	// eximID is that user's number where the machine does not know it: above
	// the ranges from which Debian gives numbers (policy manual §9.2.2).
	eximID = 64998
)

// eximUser returns the number of Exim's user. If the machine has none, it is
// private: dir then gets the passwd and group files that the server will see.
func eximUser(dir string) (id int, private bool, err error) {
	if u, err := user.Lookup(eximName); err == nil {
		id, err := strconv.Atoi(u.Uid)
		return id, false, err
	}
	lines := map[string]string{
		"passwd": fmt.Sprintf("%s:x:%d:%d::/nonexistent:/usr/sbin/nologin\n", eximName, eximID, eximID),
		"group":  fmt.Sprintf("%s:x:%d:\n", eximName, eximID),
	}
	for name, line := range lines {
		text, err := os.ReadFile("/etc/" + name)
		if err != nil {
			return 0, false, err
		}
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		if err := os.WriteFile(filepath.Join(dir, name), append(text, line...), 0o644); err != nil {
			return 0, false, err
		}
	}
	return eximID, true, nil
}

// eximLibraries lists the directories of the shared libraries that were
// unpacked beside the program, for LD_LIBRARY_PATH.
func eximLibraries(program string) string {
	root := filepath.Dir(filepath.Dir(filepath.Dir(program)))
	var dirs []string
	for _, pattern := range []string{"usr/lib/*-linux-gnu*", "lib/*-linux-gnu*"} {
		// The only error of Glob is a malformed pattern.
		found, _ := filepath.Glob(filepath.Join(root, pattern))
		dirs = append(dirs, found...)
	}
	return strings.Join(dirs, ":")
}

func writeEximConfig(e *Exim, cfg EximConfig) error {
	replies := allReplies(cfg.RejectRecipients, cfg.DeferRecipients, cfg.RecipientReplies)
	for _, kind := range []string{"4", "5"} {
		some := maps.Clone(replies)
		maps.DeleteFunc(some, func(_, reply string) bool { return !strings.HasPrefix(reply, kind) && reply != "" })
		if err := writeReplies(filepath.Join(e.dir, "replies"+kind), ": ", some); err != nil {
			return err
		}
	}
	if err := writeEximUsers(filepath.Join(e.dir, "users"), cfg.Users); err != nil {
		return err
	}

	options := map[string]string{
		"primary_hostname":     "localhost",
		"qualify_domain":       "localhost",
		"spool_directory":      filepath.Join(e.dir, "spool"),
		"log_file_path":        filepath.Join(e.dir, "log", "%slog"),
		"local_interfaces":     "127.0.0.1",
		"daemon_smtp_ports":    port(e.Addr) + " : " + port(e.TLSAddr) + " : " + port(e.PlainAddr),
		"tls_on_connect_ports": port(e.TLSAddr),
		"tls_certificate":      e.auth.certFile,
		"tls_privatekey":       e.auth.keyFile,
		"tls_advertise_hosts":  "${if eq{$received_port}{" + port(e.PlainAddr) + "}{}{*}}",
		"acl_smtp_rcpt":        "acl_recipient",

		// One process tree under one user: Exim need not run itself again as
		// root to deliver, which it refuses with a configuration it does not know.
		"deliver_drop_privilege": "true",
		"keep_environment":       "",

		// No look-ups in DNS or at the client: a lost answer costs 5 seconds.
		"host_lookup":         "",
		"helo_lookup_domains": "",
		"rfc1413_hosts":       "",
		"dns_dnssec_ok":       "0",
		"host_lookup_order":   "byaddr",

		"accept_8bitmime":     "true",
		"dsn_advertise_hosts": "*",
		// The default backlog drops some of 60 clients that come at once.
		"smtp_connect_backlog":             "300",
		"smtp_accept_max":                  "300",
		"smtp_accept_queue_per_connection": "0",
		"smtp_accept_max_per_connection":   "0",
		"smtp_accept_max_nonmail":          "1000000",
		"check_spool_space":                "0",
		"check_log_space":                  "0",
		"log_selector":                     "+all_parents +received_recipients +tls_cipher",
	}
	if cfg.MessageSizeLimit != 0 {
		options["message_size_limit"] = strconv.FormatInt(max(0, cfg.MessageSizeLimit), 10)
	}
	for _, keyword := range cfg.DiscardEHLO {
		option, value, err := eximDiscard(keyword)
		if err != nil {
			return err
		}
		options[option] = value
	}
	maps.Copy(options, cfg.Extra)

	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(options)) {
		value := options[name]
		if strings.ContainsAny(name+value, "\r\n") {
			return fmt.Errorf("option %s contains a line break", name)
		}
		fmt.Fprintf(&b, "%s = %s\n", name, value)
	}
	fmt.Fprintf(&b, eximSections, port(e.PlainAddr), e.dir)
	if err := writeEximAuthenticators(&b, e, cfg.Mechanisms); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(e.dir, "exim.conf"), b.Bytes(), 0o644)
}

// eximDiscard returns the main option that keeps an EHLO keyword back.
func eximDiscard(keyword string) (option, value string, err error) {
	switch strings.ToLower(keyword) {
	case "8bitmime":
		return "accept_8bitmime", "false", nil
	case "starttls":
		return "tls_advertise_hosts", "", nil
	case "chunking", "pipelining", "smtputf8", "dsn", "auth":
		return strings.ToLower(keyword) + "_advertise_hosts", "", nil
	}
	return "", "", fmt.Errorf("EHLO keyword %q: Exim always announces it", keyword)
}

// eximSections is the configuration after the main section, up to the
// authenticators. A message in an ACL that begins with a reply code replaces
// Exim's own. All recipients share one maildir: Exim refuses a file name made
// from an address as tainted, and envelope_to_add names the recipient anyway.
const eximSections = `
begin acl
acl_recipient:
  deny
    set acl_m_reply = ${lookup{$local_part@$domain}lsearch{%[2]s/replies5}}
    condition = ${if def:acl_m_reply}
    message = $acl_m_reply
  defer
    set acl_m_reply = ${lookup{$local_part@$domain}lsearch{%[2]s/replies4}}
    condition = ${if def:acl_m_reply}
    message = $acl_m_reply
  accept
    condition = ${if eq{$received_port}{%[1]s}}
  accept
    authenticated = *
  deny
    message = 550 5.7.1 Authentication required

begin routers
everything:
  driver = accept
  transport = inbox

begin transports
inbox:
  driver = appendfile
  directory = %[2]s/mail/inbox
  maildir_format
  create_directory
  return_path_add
  envelope_to_add

begin retry
* * F,1h,10s

begin authenticators
`

// The authenticators. Passwords are kept in base64, because a value in a lookup
// file may not begin or end in a space.
const (
	eximPlain = `
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{!eq{$auth3}{}}{eq{${base64:$auth3}}{${lookup{$auth2}lsearch{%[2]s/users}}}}}}
  server_set_id = $auth2
  server_advertise_condition = %[1]s
`
	eximLogin = `
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = ${if and{{!eq{$auth2}{}}{eq{${base64:$auth2}}{${lookup{$auth1}lsearch{%[2]s/users}}}}}}
  server_set_id = $auth1
  server_advertise_condition = %[1]s
`
	eximCRAM = `
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${lookup{$auth1}lsearch{%[2]s/users}{${base64d:$value}}fail}
  server_set_id = $auth1
  server_advertise_condition = %[1]s
`
)

func writeEximAuthenticators(b *bytes.Buffer, e *Exim, mechanisms []string) error {
	if len(mechanisms) == 0 {
		mechanisms = []string{"PLAIN", "LOGIN", "CRAM-MD5"}
	}
	advertise := "${if or{{def:tls_in_cipher}{eq{$received_port}{" + port(e.PlainAddr) + "}}}}"
	for _, name := range mechanisms {
		switch strings.ToUpper(name) {
		case "PLAIN":
			fmt.Fprintf(b, eximPlain, advertise, e.dir)
		case "LOGIN":
			fmt.Fprintf(b, eximLogin, advertise, e.dir)
		case "CRAM-MD5":
			fmt.Fprintf(b, eximCRAM, advertise, e.dir)
		default:
			return fmt.Errorf("SASL mechanism %q: Exim has only PLAIN, LOGIN and CRAM-MD5 here", name)
		}
	}
	return nil
}

func writeEximUsers(file string, users map[string]string) error {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(users)) {
		if name == "" || strings.ContainsAny(name, " \t\r\n:\"#") || strings.ContainsAny(users[name], "\r\n") {
			return fmt.Errorf("user %q: the name must be plain and the password one line", name)
		}
		fmt.Fprintf(&b, "%s: %s\n", name, base64.StdEncoding.EncodeToString([]byte(users[name])))
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}
