package oona_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// What lies in the way of one run is told from what lies in the way of all.
func TestDamagedKeyIsNamed(t *testing.T) {
	server := redistest.Start(t)
	records := leaseClient(t, server.URL, "a").Records(func(run string) string { return "oona.run." + run })
	write := oona.RecordWrite{
		Key: oona.RecordKey{Part: "kasmina", Run: "r"}, Orders: []*leyline.AdaptationCommand{{CommandId: "1"}}, Due: time.Now(),
	}
	const record, stream, index = "weatherlight:kasmina:{oona.run.r}", "oona.run.r", "weatherlight:kasmina:due"
	for _, row := range []struct {
		name   string
		spoil  [][]string
		says   string
		of     error
		reads  bool
		writes bool
	}{
		{"sound", nil, "", nil, true, true},
		{"record", [][]string{{"SET", record, "x"}}, record + " is a string", oona.ErrDamaged, false, false},
		{"version", [][]string{{"HSET", record, "v", "abc"}}, record, oona.ErrDamaged, false, true},
		{"stream", [][]string{{"SET", stream, "x"}}, stream + " is a string", oona.ErrDamaged, true, false},
		{
			"stream without room",
			[][]string{
				{"XGROUP", "CREATE", stream, "g", "$", "MKSTREAM"}, {"XSETID", stream, "18446744073709551615-18446744073709551615"},
			},
			stream, oona.ErrDamaged, true, false,
		},
		{"index", [][]string{{"SET", index, "x"}}, index + " is a string", oona.ErrUnavailable, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			tell(t, server, "FLUSHALL")
			for _, words := range row.spoil {
				tell(t, server, words...)
			}
			judge := func(what string, err error, well bool) {
				t.Helper()
				if (err == nil) != well || err != nil && (!errors.Is(err, row.of) || !strings.Contains(err.Error(), row.says)) {
					t.Errorf("%s: %v", what, err)
				}
				if errors.Is(err, oona.ErrDamaged) && row.of != oona.ErrDamaged {
					t.Errorf("%s: the run is blamed: %v", what, err)
				}
			}
			_, err := records.Load(t.Context(), write.Key)
			judge("load", err, row.reads)
			if _, err = records.Save(t.Context(), write); row.name != "version" { // another conflict
				judge("save", err, row.writes)
			}
		})
	}
}
