package fieldreport

import (
	"bufio"
	"fmt"
	"io"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// kept is what is remembered of a report in the file.
type kept struct {
	id, seed string
	issued   time.Time // zero: it does not say
	size     int64     // of its record
}

// window is the end of the file: the reports that are kept, oldest first. What lies before it
// is gone, and leaves the file when that is worth a rewrite.
type window struct {
	reports    []kept
	ids, seeds map[string]int // how many of them tell of it
	start, end int64          // where it lies in the file
	dead       int            // reports before it
}

func newWindow() window { return window{ids: make(map[string]int), seeds: make(map[string]int)} }

// seedOf names a seed as a report does.
func seedOf(report *leyline.FieldReport) string {
	return report.GetTrainingRunId() + "\x00" + report.GetSeedId()
}

func (w *window) add(report *leyline.FieldReport, size int) {
	k := kept{id: report.GetReportId(), seed: seedOf(report), size: int64(size)}
	if report.GetIssuedAt() != nil {
		k.issued = report.GetIssuedAt().AsTime()
	}
	w.put(k)
}

func (w *window) put(k kept) {
	w.reports = append(w.reports, k)
	w.ids[k.id]++
	w.seeds[k.seed]++
	w.end += k.size
}

// drop leaves out the first report.
func (w *window) drop() {
	first := w.reports[0]
	w.reports = w.reports[1:]
	w.start += first.size
	w.dead++
	less(w.ids, first.id)
	less(w.seeds, first.seed)
}

func less(of map[string]int, name string) {
	if of[name]--; of[name] == 0 {
		delete(of, name)
	}
}

// tellsOf says whether a report is known. One of a controller that was restarted
// names its seed but not the command that made it.
func (w *window) tellsOf(report *leyline.FieldReport) bool {
	madeAgain := report.GetCommandId() == "" && report.GetBlueprintId() != ""
	return w.ids[report.GetReportId()] > 0 || madeAgain && w.seeds[seedOf(report)] > 0
}

// narrow drops reports that have expired, and the oldest ones while all take more than most
// bytes. It says how many went for want of room.
func (w *window) narrow(expired func(kept) bool, most int64) (crowded int) {
	for len(w.reports) > 0 {
		old := expired(w.reports[0])
		if !old && (w.end-w.start <= most || len(w.reports) == 1) {
			break
		}
		if w.drop(); !old {
			crowded++
		}
	}
	return crowded
}

// copyTo writes the records of a file that are not expired, and returns their window.
func (w *window) copyTo(to io.Writer, file io.ReaderAt, expired func(kept) bool) (window, error) {
	from := bufio.NewReaderSize(io.NewSectionReader(file, w.start, w.end-w.start), readAhead)
	out := bufio.NewWriterSize(to, readAhead)
	left := newWindow()
	var record []byte
	for _, k := range w.reports {
		record = append(record[:0], make([]byte, k.size)...)
		if _, err := io.ReadFull(from, record); err != nil {
			return window{}, fmt.Errorf("read record of %s: %w", k.id, err)
		}
		if expired(k) {
			continue
		}
		if _, err := out.Write(record); err != nil {
			return window{}, err
		}
		left.put(k)
	}
	return left, out.Flush()
}
