package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/postrider/postrider/auth"
	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/seal"
)

// Files in the data directory.
const (
	databaseFile     = "postrider.db"
	jwtSecretFile    = "jwt-secret"
	sealKeysetFile   = "seal-keyset.json"
	auditKeyFile     = "audit-key.json"
	operatorHashFile = "operator-key-hash"
	serveLockFile    = "serve.lock"
	setupLockFile    = "setup.lock"
)

// secretKeyID is the kid of tokens signed with jwt_secret.
const secretKeyID = "jwt-secret"

// keyring is what the service signs, verifies and seals with.
type keyring struct {
	tokens     []auth.Key // the first signs, all verify
	sealer     *seal.Sealer
	sealKeyset config.Secret
	auditor    *seal.Signer
	auditKey   config.Secret
	operator   auth.KeyHash // zero: there is no operator key
}

// readKeys takes the keys from the settings and, where these name none, from the data directory. With makeMissing it
// makes those that are in neither; the data directory must exist then.
func readKeys(s *config.Settings, makeMissing bool) (*keyring, config.Faults) {
	r := keyReader{s: s, makeMissing: makeMissing && s.Data != ""}
	var k keyring
	k.tokens = r.tokenKeys()
	if k.sealKeyset = r.secret("seal_keyset", s.SealKeyset, sealKeysetFile, fromOctets(seal.Generate)); !k.sealKeyset.IsZero() {
		var err error
		if k.sealer, err = seal.Open([]byte(k.sealKeyset.Reveal())); err != nil {
			r.fault("seal_keyset", "%s", strings.TrimPrefix(err.Error(), "seal: "))
		}
	}
	if k.auditKey = r.secret("audit_key", s.AuditKey, auditKeyFile, fromOctets(seal.GenerateSigning)); !k.auditKey.IsZero() {
		var err error
		if k.auditor, err = seal.OpenSigner([]byte(k.auditKey.Reveal())); err != nil {
			r.fault("audit_key", "%s", strings.TrimPrefix(err.Error(), "seal: "))
		}
	}
	k.operator = r.operatorHash()
	return &k, r.faults
}

type keyReader struct {
	s           *config.Settings
	makeMissing bool
	faults      config.Faults
}

func (r *keyReader) fault(key, format string, a ...any) {
	r.faults = append(r.faults, r.s.Fault(key, format, a...))
}

// tokenKeys are jwt_keys, then jwt_secret.
func (r *keyReader) tokenKeys() []auth.Key {
	var keys []auth.Key
	for _, pair := range r.s.JWTKeys {
		text, err := os.ReadFile(pair.Value)
		if err != nil {
			r.fault("jwt_keys", "%s: %v", pair.Name, err)
			continue
		}
		key, err := tokenKey(pair.Name, text)
		if err != nil {
			r.fault("jwt_keys", "%s: %v", pair.Value, strings.TrimPrefix(err.Error(), "auth: "))
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) > 0 && !keys[0].CanSign() {
		r.fault("jwt_keys", "the first key signs, and %s is a public key: put a private one first", keys[0].ID())
	}
	// A secret is needed only if nothing else can sign; one that is there verifies.
	secret := r.s.JWTSecret
	if len(r.s.JWTKeys) == 0 || r.s.Embedded() {
		secret = r.secret("jwt_secret", secret, jwtSecretFile, newSecret)
	}
	if !secret.IsZero() {
		key, err := auth.NewHMACKey(secretKeyID, []byte(secret.Reveal()))
		if err != nil {
			r.fault("jwt_secret", "%v", strings.TrimPrefix(err.Error(), "auth: "))
			return keys
		}
		keys = append(keys, key)
	}
	return keys
}

// tokenKey reads a PEM file, or a file with a secret.
func tokenKey(id string, text []byte) (auth.Key, error) {
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		return auth.ParseKey(id, text)
	}
	return auth.NewHMACKey(id, bytes.TrimRight(text, "\r\n"))
}

// secret returns the setting if it is set, else what the file in the data directory holds, or is made to hold.
func (r *keyReader) secret(key string, set config.Secret, file string, generate func() (string, error)) config.Secret {
	if !set.IsZero() || r.s.Given(key) { // given and empty: Load has told
		return set
	}
	if r.s.Data == "" {
		r.fault(key, "it is missing: every node needs the same one. Set %s_FILE, or make keys with postrider setup --data DIR and give each node that directory's files", config.EnvPrefix+strings.ToUpper(key))
		return config.Secret{}
	}
	path := filepath.Join(r.s.Data, file)
	read := config.ReadKey
	if r.makeMissing {
		read = func(path string) (string, error) { return config.EnsureKey(path, generate) }
	}
	text, err := read(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !r.makeMissing && r.s.Embedded():
		return config.Secret{} // the first start makes it
	case errors.Is(err, fs.ErrNotExist):
		r.fault(key, "it is not set, and there is no %s: every node needs the same one; copy the file from the node on which postrider setup ran", path)
	case err != nil:
		r.fault(key, "%v", err)
	}
	return config.NewSecret(text)
}

// operatorHash is of the key that is set, or of the one that setup made.
func (r *keyReader) operatorHash() auth.KeyHash {
	s := r.s
	switch {
	case !s.OperatorKey.IsZero():
		hash, err := auth.HashOperatorKey(auth.NewSecret(s.OperatorKey.Reveal()))
		if err != nil {
			r.fault("operator_key", "%v", strings.TrimPrefix(err.Error(), "auth: "))
		}
		return hash
	case s.OperatorKeyHash != "":
		hash, err := auth.ParseKeyHash(s.OperatorKeyHash)
		if err != nil {
			r.fault("operator_key_hash", "%v", strings.TrimPrefix(err.Error(), "auth: "))
		}
		return hash
	case s.Data == "":
		return auth.KeyHash{}
	}
	text, err := config.ReadKey(filepath.Join(s.Data, operatorHashFile))
	if errors.Is(err, fs.ErrNotExist) {
		return auth.KeyHash{}
	}
	hash, parseErr := auth.ParseKeyHash(text)
	if err == nil && parseErr != nil {
		err = fmt.Errorf("%s: %w", filepath.Join(s.Data, operatorHashFile), parseErr)
	}
	if err != nil {
		r.fault("operator_key_hash", "%v", err)
	}
	return hash
}

// newSecret makes a secret of 256 bits for HS256.
func newSecret() (string, error) {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return hex.EncodeToString(b), nil
}

func fromOctets(generate func() ([]byte, error)) func() (string, error) {
	return func() (string, error) {
		b, err := generate()
		return string(b), err
	}
}
