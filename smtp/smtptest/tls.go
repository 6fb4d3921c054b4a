package smtptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// authority is a certificate authority made for one server. ECDSA P-256 because
// a key takes microseconds.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// Certificates are valid from before 2000, where the clock of testing/synctest
// begins, until long after any test.
func validity() (from, to time.Time) {
	return time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	from, to := validity()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "smtptest authority"},
		NotBefore:             from,
		NotAfter:              to,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{key: key, cert: cert}, nil
}

// issue makes a certificate; for a server with addresses, for a client without.
func (a *authority) issue(name string, usage x509.ExtKeyUsage, addrs ...net.IP) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return tls.Certificate{}, err
	}
	from, to := validity()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    from,
		NotAfter:     to,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{usage},
		IPAddresses:  addrs,
	}
	if usage == x509.ExtKeyUsageServerAuth {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// serverTLS gives the configuration of the server's end.
func serverTLS(cfg *Config, ca *authority) (*tls.Config, error) {
	tc := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.TLSConfig != nil {
		tc = cfg.TLSConfig.Clone()
	}
	if len(tc.Certificates) == 0 && tc.GetCertificate == nil && tc.GetConfigForClient == nil {
		cert, err := ca.issue("localhost", x509.ExtKeyUsageServerAuth, net.IPv4(127, 0, 0, 1), net.IPv6loopback)
		if err != nil {
			return nil, fmt.Errorf("smtptest: making the certificate: %w", err)
		}
		tc.Certificates = []tls.Certificate{cert}
	}
	if cfg.ClientAuth != tls.NoClientCert {
		tc.ClientAuth = cfg.ClientAuth
	}
	if tc.ClientCAs == nil {
		tc.ClientCAs = ca.pool()
	}
	return tc, nil
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// CA gives a pool with the server's certificate authority, for
// tls.Config.RootCAs.
func (s *Server) CA() *x509.CertPool { return s.ca.pool() }

// CAPEM gives the certificate of the server's authority in PEM, for programs
// that read it from a file.
func (s *Server) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.ca.cert.Raw})
}

// TLSClientConfig gives a new client configuration that trusts the server, with
// ServerName localhost.
func (s *Server) TLSClientConfig() *tls.Config {
	return &tls.Config{RootCAs: s.ca.pool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}
}

// ClientCertificate makes a client certificate of the server's authority with
// the common name given, valid until 2099. See Config.ClientAuth. The error is
// that of making it.
func (s *Server) ClientCertificate(name string) (tls.Certificate, error) {
	cert, err := s.ca.issue(name, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("smtptest: making a client certificate: %w", err)
	}
	return cert, nil
}
