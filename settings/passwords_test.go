package settings_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/settings"
)

// withoutUser is the form of those who leave out the colon before the password.
const withoutUser = "%[2]s://%[1]s@host:1/0"

// addressForms are ways to write a password, %[1]s, into an address; %[2]s is a scheme.
var addressForms = []string{
	"%[2]s://user:%[1]s@host:1/0",
	"%[2]s://:%[1]s@host:1/0",
	withoutUser,
	"%[2]s://host:1/0?%[1]s",
	"%[2]s://host:1/0?auth=%[1]s",
	"%[2]s:///folder/file.db?cipher=%[1]s",
	"redis://host:1/%[1]s",
	"%[2]s://host:1?addr=user:%[1]s@other:2",
	"%[2]s://host:1?addr=other:2&addr=user:%[1]s@third:3",
	"%[2]s://bucket/prefix?endpoint=http://user:%[1]s@host:9000&region=eu",
	"%[2]s://bucket?endpoint=http%%3A%%2F%%2Fuser%%3A%[1]s%%40host",
	"%[2]s://bucket?endpoint=http%%253A%%252F%%252Fuser%%253A%[1]s%%2540host",
	"%[2]s://host/db?password=%[1]s",
	"%[2]s://host/db?p%%61ssword=%[1]s",
	"%[2]s://host/db?sslpassword=%[1]s;x=y",
	"%[2]s://host/db?options=-c password=%[1]s",
	"%[2]s://host/db?options=-c%%20secret%%3D%[1]s",
	"%[2]s://host/db?sentinel_password=%[1]s&master_set=x",
	"%[2]s://host/db?x-api-key=%[1]s",
	"%[2]s://host/user:%[1]s@other",
	"%[2]s://user:12/%[1]s@host",
	"%[2]s://host/#user:%[1]s@other",
	"%[2]s://host/#%[1]s",
	"%[2]s://host/?user:%[1]s@other",
	"host=h user=u password=%[1]s",
	"host=h user=u password='%[1]s' dbname=db",
	"user:%[1]s@host:1",
	"%[2]s:user:%[1]s@host",
	"%[2]s//user:%[1]s@host",
}

// addresses are the settings that hold one, with the schemes that they take.
var addresses = map[string][]string{
	"REDIS_URL":                  {"redis", "rediss", "unix"},
	"URZA_DATABASE_URL":          {"postgres", "postgresql", "sqlite", "postgresql+psycopg"},
	"URZA_ARTIFACT_URL":          {"s3"},
	"WEATHERLIGHT_ADVERTISE_URL": {"http", "https"},
	"WEATHERLIGHT_URL":           {"http", "https"},
	"NISSA_URL":                  {"http", "https"},
	"NISSA_DATABASE_URL":         {"postgres", "postgresql", "sqlite", "postgresql+psycopg"},
	"ELASTICSEARCH_URL":          {"http", "https"},
	"PROMETHEUS_PUSHGATEWAY":     {"http", "https"},
}

// A secret that stands where its file should be named is not repeated as the name of a file.
func TestSecretInPlaceOfItsFileIsNotPrinted(t *testing.T) {
	for _, written := range []string{"pw7hx2kd93mq", "pw7hx2kd/93mq", strings.Repeat("pw7hx2kd93mq", 400), "/nowhere/pw7hx2kd93mq"} {
		_, err := load(t, "", settings.SecretFileEnv+"="+written)
		if err == nil || !strings.Contains(err.Error(), settings.SecretFileEnv) || strings.Contains(err.Error(), "pw7hx2kd") {
			t.Errorf("%.40s: %v", written, err)
		}
	}
}

func TestNamesOfFilesWithKeysArePrintedWhenTheyAreThere(t *testing.T) {
	key := "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
	file := filepath.Join(t.TempDir(), "key.pub")
	writeSecrets(t, file, key)
	s, err := load(t, "", "ESPER_LEYLINE_SECRET=secret", "URZA_TRUSTED_KEYS="+file+", "+key+",pw7hx2kd93mq", "URZA_SIGNING_KEY_FILE=pw7hx2kd93mq")
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range s.Fields() {
		want, isOne := map[string]string{"URZA_TRUSTED_KEYS": file + "," + key + ",***", "URZA_SIGNING_KEY_FILE": "***"}[field.Env]
		if isOne && field.Value != want {
			t.Errorf("%s is printed as %q, want %q", field.Env, field.Value, want)
		}
	}
}

// spellings are the ways in which a password may show up.
func spellings(password string) []string {
	quoted, _ := json.Marshal(password)
	return []string{password, url.QueryEscape(password), url.PathEscape(password), strings.Trim(string(quoted), `"`)}
}

// A password may stand in REDIS_URL=...?addr=user:pw@... and URZA_ARTIFACT_URL=...endpoint=http://user:pw@...
// too. Whatever is accepted is printed without it, and so is what is not.
func TestR41NoAddressPrintsItsPassword(t *testing.T) {
	names := make([]string, 0, len(addresses))
	for name := range addresses {
		names = append(names, name)
	}
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom(names).Draw(rt, "setting")
		scheme := rapid.SampledFrom(addresses[name]).Draw(rt, "scheme")
		password := rapid.StringMatching(`pw[A-Za-z0-9]{8}([!$*+,;:%^&=? "<>]{0,2}[A-Za-z0-9]{4})`).Draw(rt, "password")
		written := rapid.SampledFrom([]string{url.QueryEscape(password), url.PathEscape(password), password[:10]}).Draw(rt, "written")
		form := rapid.SampledFrom(addressForms).Draw(rt, "form")
		if form == withoutUser {
			written = strings.ReplaceAll(written, ":", "%3A") // what stands before a colon is a name
		}
		text := fmt.Sprintf(form, written, scheme)
		s, err := load(t, "", name+"="+text)
		printed := fmt.Sprint(err)
		if err == nil {
			var logged bytes.Buffer
			slog.New(slog.NewJSONHandler(&logged, nil)).Info("start", "settings", s)
			encoded, failure := json.Marshal(s)
			if failure != nil {
				rt.Fatal(failure)
			}
			printed = fmt.Sprintf("%v %+v %#v %s %s %s", s, *s, s.Fields(), logged.String(), encoded, settings.Markdown())
		}
		for _, secret := range append(spellings(password), spellings(password[:10])...) {
			if strings.Contains(printed, secret) {
				at := strings.Index(printed, secret)
				rt.Fatalf("%s=%s prints %q: ...%s...", name, text, secret, printed[max(0, at-80):min(len(printed), at+40)])
			}
		}
	})
}

func TestNothingPrintsASecret(t *testing.T) {
	s := mustLoad(t, "",
		"REDIS_URL=rediss://user:"+secret+"@h:1/0?password="+secret+"&client=x",
		"URZA_DATABASE_URL=postgres://u:"+secret+"@h/db?sslpassword="+secret)
	hidden := struct{ inner settings.Settings }{*s}
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("start", "settings", s, "secret", s.Secret, "url", s.Redis.URL, "whole", *s)
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"%v": fmt.Sprintf("%v", s), "%+v": fmt.Sprintf("%+v", *s), "%#v": fmt.Sprintf("%#v", *s),
		"%s":         fmt.Sprintf("%s %d %x %q", s.Secret, s.Secret, s.Secret, s.Secret),
		"unexported": fmt.Sprintf("%v %+v %#v", hidden, hidden, hidden),
		"slog":       logged.String(), "json": string(encoded), "fields": fmt.Sprint(s.Fields()),
	} {
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("%s prints the secret:\n%s", name, text)
		}
	}
	if got, want := s.Redis.URL.String(), "rediss://user:***@h:1/0?password=***&***"; got != want {
		t.Errorf("masked URL is %q, want %q", got, want)
	}
	if !strings.Contains(logged.String(), `"ESPER_LEYLINE_SECRET":"***"`) {
		t.Errorf("the log does not show that a secret is set: %s", logged.String())
	}
}

func TestFaultsDoNotPrintPasswords(t *testing.T) {
	_, err := load(t, "", "REDIS_URL=redis://u:"+secret+"@h:notaport/0", "URZA_DATABASE_URL=mysql://u:"+secret+"@h/db")
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error is %v", err)
	}
}
