package relaytest

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// nobody is the user and group that own delivered mail under Postfix.
const nobody = 65534

// postfixIDs are the numbers of Postfix's own user and groups.
type postfixIDs struct {
	uid, gid, postdrop int
}

func lookupPostfixIDs() (postfixIDs, error) {
	var ids postfixIDs
	u, err := user.Lookup("postfix")
	if err != nil {
		return ids, err
	}
	g, err := user.LookupGroup("postdrop")
	if err != nil {
		return ids, err
	}
	if ids.uid, err = strconv.Atoi(u.Uid); err != nil {
		return ids, err
	}
	if ids.gid, err = strconv.Atoi(u.Gid); err != nil {
		return ids, err
	}
	ids.postdrop, err = strconv.Atoi(g.Gid)
	return ids, err
}

// makeTree makes the directories that `postfix start` would check and repair;
// that script takes longer than the server itself.
func (ids postfixIDs) makeTree(dir string) error {
	type entry struct {
		name     string
		mode     os.FileMode
		uid, gid int
	}
	entries := []entry{
		{"etc", 0o755, 0, 0},
		{"etc/sasl", 0o755, 0, 0},
		{"data", 0o700, ids.uid, ids.gid},
		{"mail", 0o755, nobody, nobody},
		{"queue", 0o755, 0, 0},
		{"queue/pid", 0o755, 0, 0},
		{"queue/public", 0o2710, ids.uid, ids.postdrop},
		{"queue/maildrop", 0o1730, ids.uid, ids.postdrop},
	}
	for _, name := range []string{
		"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold",
		"incoming", "private", "saved", "trace",
	} {
		entries = append(entries, entry{"queue/" + name, 0o700, ids.uid, 0})
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.name)
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		if err := os.Chown(path, e.uid, e.gid); err != nil {
			return err
		}
		mode := e.mode.Perm()
		if e.mode&0o2000 != 0 {
			mode |= os.ModeSetgid
		}
		if e.mode&0o1000 != 0 {
			mode |= os.ModeSticky
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	return nil
}

func writePostfixConfig(p *Postfix, cfg PostfixConfig) error {
	etc := filepath.Join(p.dir, "etc")
	replies := filepath.Join(etc, "recipients")
	if err := writeReplies(replies, "\t", allReplies(cfg.RejectRecipients, cfg.DeferRecipients, cfg.RecipientReplies)); err != nil {
		return err
	}

	parameters := map[string]string{
		"compatibility_level":   "3.6",
		"config_directory":      etc,
		"queue_directory":       filepath.Join(p.dir, "queue"),
		"data_directory":        filepath.Join(p.dir, "data"),
		"maillog_file":          filepath.Join(p.dir, "mail.log"),
		"maillog_file_prefixes": p.dir,
		"inet_interfaces":       "127.0.0.1",
		"inet_protocols":        "ipv4",
		"myhostname":            "localhost",
		"myorigin":              "localhost",
		"mydestination":         "",
		"mynetworks":            "",
		"alias_maps":            "",
		"alias_database":        "",
		"disable_dns_lookups":   "yes",
		"smtpd_peername_lookup": "no",

		// Every domain is a virtual one of this server and no service can
		// carry mail away, so nothing leaves the machine.
		"virtual_mailbox_domains": "static:all",
		"virtual_mailbox_base":    filepath.Join(p.dir, "mail"),
		"virtual_mailbox_maps":    "static:inbox/",
		"virtual_mailbox_limit":   "0",
		"virtual_minimum_uid":     "1",
		"virtual_uid_maps":        fmt.Sprintf("static:%d", nobody),
		"virtual_gid_maps":        fmt.Sprintf("static:%d", nobody),
		"local_transport":         "virtual",
		"relay_transport":         "virtual",
		"default_transport":       "virtual",

		// What arrives must be what was sent: no repair, no removal (of Bcc).
		"local_header_rewrite_clients": "",
		"message_drop_headers":         "",
		"allow_percent_hack":           "no",
		"swap_bangpath":                "no",

		"smtpd_tls_security_level": "may",
		"smtpd_tls_auth_only":      "yes",
		"smtpd_tls_chain_files":    p.auth.keyFile + ", " + p.auth.certFile,
		"smtpd_tls_loglevel":       "1",

		"smtpd_sasl_auth_enable":      "yes",
		"smtpd_sasl_local_domain":     "localhost",
		"smtpd_sasl_security_options": "noanonymous",

		// Every domain is ours, so this never refuses; Postfix insists on it.
		"smtpd_relay_restrictions":     "defer_unauth_destination",
		"smtpd_recipient_restrictions": "check_recipient_access texthash:" + replies + ", permit_sasl_authenticated, reject",

		// The default refuses a 51st connection from one address, and makes a
		// client that met errors wait.
		"smtpd_client_connection_count_limit": "0",
		"smtpd_error_sleep_time":              "0",
		"smtpd_client_message_rate_limit":     strconv.Itoa(cfg.ClientMessageRate),
		"smtpd_discard_ehlo_keywords":         strings.Join(cfg.DiscardEHLO, ", "),
		"default_process_limit":               "300",
		"in_flow_delay":                       "0",
	}
	if cfg.MessageSizeLimit != 0 {
		parameters["message_size_limit"] = strconv.FormatInt(max(0, cfg.MessageSizeLimit), 10)
	}
	maps.Copy(parameters, cfg.Extra)

	var main bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		value := parameters[name]
		if strings.ContainsAny(name+value, "\r\n") {
			return fmt.Errorf("parameter %s contains a line break", name)
		}
		fmt.Fprintf(&main, "%s = %s\n", name, value)
	}
	if err := writeAged(filepath.Join(etc, "main.cf"), main.Bytes()); err != nil {
		return err
	}

	services := fmt.Sprintf(postfixServices, p.Addr, p.TLSAddr, p.PlainAddr, replies)
	return writeAged(filepath.Join(etc, "master.cf"), []byte(services))
}

// postfixServices is master.cf. There is no smtp client service on purpose.
const postfixServices = `
%[1]s inet n - n - - smtpd
%[2]s inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
%[3]s inet n - n - - smtpd
  -o smtpd_tls_security_level=none
  -o smtpd_tls_auth_only=no
  -o { smtpd_recipient_restrictions = check_recipient_access texthash:%[4]s, permit }
cleanup   unix       n - n - 0 cleanup
qmgr      unix       n - n 300 1 qmgr
tlsmgr    unix       - - n 1000? 1 tlsmgr
rewrite   unix       - - n - - trivial-rewrite
bounce    unix       - - n - 0 bounce
defer     unix       - - n - 0 bounce
trace     unix       - - n - 0 bounce
verify    unix       - - n - 1 verify
flush     unix       n - n 1000? 0 flush
proxymap  unix       - - n - - proxymap
showq     unix       n - n - - showq
error     unix       - - n - - error
retry     unix       - - n - - error
discard   unix       - - n - - discard
virtual   unix       - n n - - virtual
anvil     unix       - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
`

// allReplies gathers the refusals of a configuration by address.
func allReplies(reject, deferred []string, other map[string]string) map[string]string {
	replies := maps.Clone(other)
	if replies == nil {
		replies = map[string]string{}
	}
	for _, addr := range reject {
		replies[addr] = "550 5.1.1 No such mailbox here"
	}
	for _, addr := range deferred {
		replies[addr] = "451 4.7.1 Try again later"
	}
	return replies
}

// writeReplies writes a lookup table from recipient to reply.
func writeReplies(file, separator string, replies map[string]string) error {
	var b bytes.Buffer
	for _, addr := range slices.Sorted(maps.Keys(replies)) {
		reply := replies[addr]
		if strings.ContainsAny(addr, " \t\r\n:\"#") || strings.ContainsAny(reply, "\r\n") {
			return fmt.Errorf("reply for %q: the address must be plain and the reply one line", addr)
		}
		if len(reply) < 3 || reply[0] != '4' && reply[0] != '5' {
			return fmt.Errorf("reply for %q: %q is not a 4yz or 5yz reply", addr, reply)
		}
		fmt.Fprintf(&b, "%s%s%s\n", strings.ToLower(addr), separator, reply)
	}
	return writeAged(file, b.Bytes())
}

// writeAged writes a file that seems to be a minute old. Postfix reads a file
// again and again, with pauses, while it looks as if it were just being written.
func writeAged(file string, text []byte) error {
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return err
	}
	then := time.Now().Add(-time.Minute)
	return os.Chtimes(file, then, then)
}

// writeSASL writes Cyrus SASL's configuration and user database. Debian's
// Postfix reads it from the directory sasl below config_directory.
func writeSASL(dir string, ids postfixIDs, cfg PostfixConfig) error {
	db := filepath.Join(dir, "etc", "sasl", "sasldb2")
	mechanisms := cfg.Mechanisms
	if len(mechanisms) == 0 {
		mechanisms = []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"}
	}
	conf := fmt.Sprintf("pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: %s\nmech_list: %s\n",
		db, strings.Join(mechanisms, " "))
	if err := os.WriteFile(filepath.Join(dir, "etc", "sasl", "smtpd.conf"), []byte(conf), 0o644); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Users)) {
		user, realm := name, ""
		if at := strings.LastIndexByte(name, '@'); at >= 0 {
			user, realm = name[:at], name[at+1:]
		}
		cmd := exec.Command("saslpasswd2", "-p", "-c", "-f", db, "-u", cmp.Or(realm, "localhost"), user)
		cmd.Stdin = strings.NewReader(cfg.Users[name])
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("saslpasswd2 for user %s: %w: %s", name, err, bytes.TrimSpace(out))
		}
	}
	if len(cfg.Users) == 0 {
		return nil
	}
	return os.Chown(db, ids.uid, ids.gid)
}
