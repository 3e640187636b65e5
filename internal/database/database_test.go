package database

import (
	"os"
	"strings"
	"testing"
)

func TestDatabaseURL(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ url, file, fault string }{
		{url: "sqlite:///./var/urza/catalog.db", file: here + "/var/urza/catalog.db"},
		{url: "sqlite:///catalog.db", file: here + "/catalog.db"},
		{url: "sqlite:////srv/urza/catalog.db", file: "/srv/urza/catalog.db"},
		{url: "sqlite+pysqlite:////srv/c.db?check_same_thread=false", file: "/srv/c.db"},
		{url: "sqlite:////srv/c.db?mode=rwc", file: "/srv/c.db"},
		{url: "sqlite:///:memory:", fault: "names no file"},
		{url: "sqlite://", fault: "names no file"},
		{url: "sqlite://var/catalog.db", fault: "names no file"},
	}
	for _, test := range tests {
		file, err := fileOf(test.url)
		if file != test.file || (err == nil) != (test.fault == "") {
			t.Errorf("%s: %q, %v; want %q, %q", test.url, file, err, test.file, test.fault)
			continue
		}
		if err != nil && (!strings.Contains(err.Error(), test.fault) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s: %v; want %q and no password", test.url, err, test.fault)
		}
	}
}

func TestPythonsDriverSuffixIsUnderstood(t *testing.T) {
	config, err := postgresConfig("postgresql+psycopg2://urza:hunter2@db.example:6543/kernels?sslmode=disable")
	if err != nil || config.Host != "db.example" || config.Port != 6543 || config.Database != "kernels" ||
		config.Password != "hunter2" || config.ConnectTimeout != connectTimeout {
		t.Errorf("%+v, %v", config, err)
	}
}
