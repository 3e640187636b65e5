package oona_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

func writePEM(t *testing.T, file, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// certificate makes an authority and a server certificate for 127.0.0.1 that it
// signed, and returns their files.
func certificate(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	sign := func(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
		template.SerialNumber = big.NewInt(time.Now().UnixNano())
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	caKey, serverKey := newKey(), newKey()
	authority := &x509.Certificate{Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}
	server := &x509.Certificate{Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	ca = writePEM(t, filepath.Join(dir, "ca.pem"), "CERTIFICATE", sign(authority, authority, caKey, caKey))
	cert = writePEM(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", sign(server, authority, serverKey, caKey))
	return ca, cert, writePEM(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", der)
}

func works(t *testing.T, c *oona.Client) {
	t.Helper()
	got := receive(t, c)
	if err := publishState(c, "s"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the message arrives", func() bool { return got.count("s") >= 1 })
}

func TestTLSWithAPrivateAuthority(t *testing.T) {
	t.Parallel()
	ca, cert, key := certificate(t)
	port := freePort(t)
	redistest.Start(t, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients", "no",
		"--tls-ca-cert-file", ca)
	address := "rediss://127.0.0.1:" + port + "/0"
	_, err := oona.Connect(context.Background(), oona.Config{URL: address, Keyring: keyring(t), DialTimeout: time.Minute})
	var connect509 *oona.ConnectError
	if !errors.As(err, &connect509) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server of an unknown authority was trusted: %v", err)
	}
	works(t, connect(t, address+"?ca="+ca, nil))
	pool := x509.NewCertPool()
	text, err := os.ReadFile(ca)
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	works(t, connect(t, address, func(cfg *oona.Config) {
		cfg.TLS, cfg.Group = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, "other"
	}))
}

func TestUnusableAuthorityIsTold(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"rediss://127.0.0.1:1?ca=/nowhere.pem": "no such file",
		"rediss://127.0.0.1:1?ca=" + empty:     "holds no certificate",
		"redis://127.0.0.1:1?ca=" + empty:      "not rediss://",
	} {
		_, err := oona.Connect(context.Background(), oona.Config{URL: url, Keyring: keyring(t)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

// The rules of docs/delivery.md for a user that can do nothing but use the bus.
func TestUserOfTheBusOnlyNeedsTheBus(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	tell(t, server, "ACL", "SETUSER", "esper", "on", ">hunter2", "resetkeys", "~oona.*", "~oona:*", "resetchannels",
		"-@all", "+@stream", "+@scripting", "+@string", "+@hash", "+@connection")
	address := "redis://esper:hunter2@" + server.Addr + "/0"
	c := connect(t, address, nil)
	works(t, c)
	if err := c.Publish(context.Background(), oona.Message{Payload: &leyline.AdaptationCommand{}}); err != nil {
		t.Error(err)
	}
	if _, err := c.Admin().Trim(context.Background(), time.Hour); err != nil {
		t.Error(err)
	}
	if _, err := c.Admin().PruneConsumers(context.Background(), 24*time.Hour); err != nil {
		t.Error(err)
	}
	if _, err := c.DeadLetters().PurgeBefore(context.Background(), time.Now().Add(-time.Hour)); err != nil {
		t.Error(err)
	}
	if _, err := c.Stats(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := c.DeadLetters().List(context.Background(), "", 1); err != nil {
		t.Error(err)
	}
	_, err := oona.Connect(context.Background(), oona.Config{URL: strings.Replace(address, "hunter2", "wrong", 1), Keyring: keyring(t)})
	if err == nil || !strings.Contains(err.Error(), "WRONGPASS") || strings.Contains(err.Error(), "wrong@") {
		t.Errorf("wrong password: %v", err)
	}
}

// sentinel watches a master and promotes its replica half a second after the
// master has gone.
func sentinel(t *testing.T, master string) (addr string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(master)
	own := freePort(t)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %s\nsentinel monitor mymaster %s %s 1\n"+
		"sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 2000\n",
		own, filepath.Dir(file), host, port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", file, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait() // its exit status is the signal
	})
	return "127.0.0.1:" + own
}

func TestConsumerFollowsAFailover(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	host, port, _ := net.SplitHostPort(master.Addr)
	replica := redistest.Start(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	watcher := sentinel(t, master.Addr)
	raw := rawClientWhenUp(t, watcher)
	waitFor(t, "the sentinel knows the replica", func() bool {
		known, err := raw.Do(context.Background(), raw.B().Arbitrary("SENTINEL", "REPLICAS", "mymaster").Build()).ToArray()
		return err == nil && len(known) == 1
	})
	c := connect(t, "redis://"+watcher+"/0?master_set=mymaster", hasty)
	got := receive(t, c)
	waitFor(t, "a message is published", func() bool { return publishState(c, "before") == nil })
	waitFor(t, "the bus works", func() bool { return got.count("before") >= 1 })
	waitFor(t, "the replica has what the master has", func() bool {
		r := rawClient(t, replica.URL)
		n, err := r.Do(context.Background(), r.B().Xlen().Key("oona.normal").Build()).AsInt64()
		return err == nil && n >= 1
	})
	master.Kill()
	waitFor(t, "publishing works again", func() bool { return publishState(c, "after") == nil })
	waitFor(t, "the consumer followed", func() bool { return got.count("after") >= 1 })
}
