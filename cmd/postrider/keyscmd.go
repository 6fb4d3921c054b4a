package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/seal"
	"github.com/postrider/postrider/internal/store"
)

// keysCommand looks after the service's keys.
type keysCommand struct {
	Show     keysShowCommand     `cmd:"" help:"Name the keys in use; none is shown."`
	Rotate   keysRotateCommand   `cmd:"" help:"Rotate the keys that stored secrets are encrypted with, or that checkpoints are signed with."`
	Operator keysOperatorCommand `cmd:"" help:"Make a new operator key; the old one is refused from the next start on."`
}

type keysShowCommand struct{ settingsFlags }

// Run names keys.
func (c *keysShowCommand) Run(p *program) error {
	s, faults := c.load()
	keys, more := readKeys(s, false)
	if err := append(faults, more...).Err(); err != nil {
		return err
	}
	for i, k := range keys.tokens {
		use := "verifies"
		if i == 0 {
			use = "signs and verifies"
		}
		if _, err := fmt.Fprintf(p.stdout, "tokens    %s, %s, %s\n", k.ID(), k.Algorithm(), use); err != nil {
			return err
		}
	}
	for _, set := range []struct {
		name, primary, other string
		keyset               config.Secret
	}{{"secrets", "seals and opens", "opens", keys.sealKeyset}, {"audit", "signs and verifies", "verifies", keys.auditKey}} {
		if set.keyset.IsZero() {
			continue
		}
		all, err := seal.Keys([]byte(set.keyset.Reveal()))
		if err != nil {
			return err
		}
		for _, k := range all {
			use := set.other
			if k.Primary {
				use = set.primary
			}
			if _, err := fmt.Fprintf(p.stdout, "%-8s  %s, %s\n", set.name, k.ID, use); err != nil {
				return err
			}
		}
	}
	operator := "there is none"
	if !keys.operator.IsZero() {
		operator = "set"
	}
	_, err := fmt.Fprintf(p.stdout, "operator  %s\n", operator)
	return err
}

type keysRotateCommand struct {
	Step  string `arg:"" enum:"add,promote,reseal,drop" help:"add, promote, reseal or drop."`
	Audit bool   `group:"run" name:"audit" help:"Rotate the keys that sign checkpoints of the audit log."`
	settingsFlags
}

// Help is the text between the command's summary and its flags.
func (*keysRotateCommand) Help() string {
	return `Rotation takes four steps, so that no node meets a secret that it cannot open: add gives the keyset a key that only opens; promote makes it the one that seals; reseal opens every stored secret and seals it again; drop takes the older keys away, unless a stored secret still needs one. After add, promote and drop give the changed keyset file to every node and restart it before the next step.

With --audit it is the keys that sign checkpoints of the audit log, and there is no reseal. Checkpoints that an older key signed can be verified for as long as it is kept: do not drop it.

The keyset is changed where it was read from: seal_keyset_file, or seal-keyset.json in the data directory; with --audit, audit_key_file or audit-key.json.`
}

// Run takes one step of a rotation.
func (c *keysRotateCommand) Run(p *program) error {
	return c.with(p, func(i *installation) error {
		if c.Audit {
			if c.Step == "reseal" {
				return usagef("reseal is for stored secrets: checkpoints stay as they were signed")
			}
			return c.change(p, i, "audit_key", auditKeyFile, i.keys.auditKey)
		}
		if err := i.need("seal_keyset"); err != nil {
			return err
		}
		if i.keys.sealer == nil {
			return i.noKeyset()
		}
		by := atCommandLine("keys rotate " + c.Step)
		switch c.Step {
		case "reseal":
			return c.reseal(p, i, by)
		case "drop":
			stale := 0
			if _, err := i.store.ResealSecrets(p.ctx, func(_ uuid.UUID, sealed []byte) ([]byte, error) {
				if i.keys.sealer.Stale(sealed) {
					stale++
				}
				return nil, nil
			}, by); err != nil {
				return err
			}
			if stale > 0 {
				return &exitError{exitUnavailable, fmt.Errorf("%d stored secrets are sealed with an old key and could not be opened any more: postrider keys rotate reseal first", stale)}
			}
		}
		return c.change(p, i, "seal_keyset", sealKeysetFile, i.keys.sealKeyset)
	})
}

// reseal seals again what is sealed with an old key.
func (c *keysRotateCommand) reseal(p *program, i *installation, by store.Actor) error {
	report, err := i.store.ResealSecrets(p.ctx, func(owner uuid.UUID, sealed []byte) ([]byte, error) {
		if !i.keys.sealer.Stale(sealed) {
			return nil, nil
		}
		open, err := i.keys.sealer.Unseal(owner, seal.PurposeRelayPassword, sealed)
		if err != nil {
			return nil, err
		}
		return i.keys.sealer.Seal(owner, seal.PurposeRelayPassword, open)
	}, by)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%d of %d stored secrets are sealed anew\n", report.Changed, report.Secrets)
	return err
}

func (i *installation) noKeyset() error {
	return &exitError{exitConfig, fmt.Errorf("there is no keyset in %s yet: postrider setup or serve makes it", i.settings.Data)}
}

// change changes the keyset of a setting in its file, which is file in the data directory if the setting names none.
func (c *keysRotateCommand) change(p *program, i *installation, setting, file string, keyset config.Secret) error {
	if err := i.need(setting); err != nil {
		return err
	}
	if keyset.IsZero() {
		return i.noKeyset()
	}
	s := i.settings
	path := s.FileOf(setting)
	if path == "" && s.Given(setting) {
		return &exitError{exitConfig, s.Fault(setting, "the keyset is in the setting itself and cannot be changed there: put it into a file and set %s_file", setting)}
	}
	if path == "" {
		path = filepath.Join(s.Data, file)
	}
	step := map[string]func([]byte) ([]byte, error){"add": seal.AddKey, "promote": seal.Promote, "drop": seal.DropOld}[c.Step]
	changed, err := step([]byte(keyset.Reveal()))
	switch {
	case errors.Is(err, seal.ErrKeyWaiting), errors.Is(err, seal.ErrNoNewKey):
		return &exitError{exitUnavailable, err}
	case err != nil:
		return err
	}
	if err := config.ReplaceKey(path, string(changed)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s is changed: give it to every node and restart it\n", path)
	return err
}

type keysOperatorCommand struct{ settingsFlags }

// Run makes a new operator key.
func (c *keysOperatorCommand) Run(p *program) error {
	s, faults := c.load()
	if err := faults.Err(); err != nil {
		return err
	}
	key, hash := auth.GenerateOperatorKey()
	if s.Data != "" && !s.Given("operator_key") && !s.Given("operator_key_hash") {
		if err := config.MakeDirectory(s.Data); err != nil {
			return err
		}
		if err := config.ReplaceKey(filepath.Join(s.Data, operatorHashFile), hash.String()); err != nil {
			return err
		}
		_, err := fmt.Fprintf(p.stdout, "operator  %s\n\nIt is shown this once: keep it. Restart postrider serve, which then takes it in place of the old one.\n", key.Reveal())
		return err
	}
	_, err := fmt.Fprintf(p.stdout, "operator  %s\n\nIt is shown this once: keep it. Give every node %sOPERATOR_KEY_HASH=%s and restart it.\n", key.Reveal(), config.EnvPrefix, hash)
	return err
}
