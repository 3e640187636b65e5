package look

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/esper-lite/weatherlight/cmd/esperctl/internal/terminal"
)

// Service is what Weatherlight shows of itself at /status, as far as it is shown here.
type Service struct {
	State      string   `json:"state"`
	Reason     string   `json:"reason"`
	Version    string   `json:"version"`
	Uptime     float64  `json:"uptime_s"`
	Bus        string   `json:"bus"`
	SystemMode string   `json:"system_mode"`
	Alarms     []alarm  `json:"alarms"`
	Workers    []worker `json:"workers"`
	Streams    []stream `json:"streams"`
	Catalogue  *struct {
		Blueprints int `json:"blueprints"`
		Kernels    int `json:"kernels"`
	} `json:"catalogue"`
	Instances *struct {
		Self   string   `json:"self"`
		Leader string   `json:"leader"`
		Live   []string `json:"live"`
	} `json:"instances"`
}

type alarm struct {
	Name     string    `json:"alarm"`
	Subject  string    `json:"subject"`
	Severity string    `json:"severity"`
	Since    time.Time `json:"since"`
	Detail   string    `json:"detail"`
	Gone     bool      `json:"gone"`
}

type worker struct {
	Name      string  `json:"name"`
	State     string  `json:"state"`
	Restarts  int     `json:"restarts"`
	Circuit   string  `json:"circuit"`
	LastError string  `json:"last_error"`
	Uptime    float64 `json:"uptime_s"`
}

type stream struct {
	Role          string `json:"role"`
	Depth         int64  `json:"depth"`
	Lag           int64  `json:"lag"`
	Slowest       string `json:"slowest_group"`
	TrimmedUnread int64  `json:"trimmed_unread"`
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Workers lists the workers of the foundation service.
func Workers() *cobra.Command {
	command := question{
		use: "workers", short: "List the workers of the foundation service: state, restarts, last error",
		answer: func(ctx context.Context, _ []string, to *answer) error {
			service, err := weatherlight()
			if err != nil {
				return err
			}
			var page struct{ Workers []json.RawMessage }
			if err := service.Get(ctx, "/status", nil, &page); err != nil {
				return err
			}
			workers, err := eachOf[worker](page.Workers)
			if err != nil {
				return err
			}
			return to.Print(to.out, page.Workers, func(table io.Writer) {
				terminal.Row(table, "WORKER", "STATE", "UP", "RESTARTS", "CIRCUIT", "LAST ERROR")
				for _, w := range workers {
					terminal.Row(table, w.Name, w.State, terminal.Span(seconds(w.Uptime)), w.Restarts, w.Circuit,
						terminal.OrDash(w.LastError))
				}
			})
		},
	}.command()
	return command
}

// trained is a trainer and the run that it leads.
type trained struct {
	Trainer  string    `json:"trainer"`
	Run      string    `json:"run"`
	State    string    `json:"state"`
	LedSince time.Time `json:"led_since,omitzero"`
	Epoch    uint32    `json:"epoch"`
	Reports  int64     `json:"reports"`
	Refused  int64     `json:"refused_reports"`
	Reported time.Time `json:"reported_at,omitzero"`
}

// TrainersList lists who trains.
func TrainersList() *cobra.Command {
	var all bool
	command := question{
		use: "list", short: "List the trainers that lead a run",
		long: "Lists the trainers that lead a run, those heard of last first. One that only reports has no name. REFUSED\n" +
			"counts reports of other processes for the same run.",
		answer: func(ctx context.Context, _ []string, to *answer) error {
			runs, _, err := listRuns(ctx, mostRuns)
			if err != nil {
				return err
			}
			trainers := []trained{}
			for _, r := range runs {
				if r.Trains() || all {
					trainers = append(trainers, trained{r.Trainer, r.ID, r.State, r.LedSince, r.Epoch, r.Reports, r.Refused, r.Reported})
				}
			}
			return to.Print(to.out, trainers, func(table io.Writer) {
				terminal.Row(table, "TRAINER", "RUN", "STATE", "LEADS FOR", "REPORTS", "LAST", "REFUSED")
				for _, t := range trainers {
					terminal.Row(table, terminal.OrDash(t.Trainer), t.Run, t.State, to.age(t.LedSince), t.Reports,
						to.age(t.Reported), t.Refused)
				}
			})
		},
	}.command()
	command.Flags().BoolVar(&all, "all", false, "those of runs that are silent or halted, too")
	return command
}

// Raised is an alarm of the service, or an alert of Nissa's.
type Raised struct {
	ID       string    `json:"id,omitempty"` // to acknowledge it by; alarms of the service have none
	From     string    `json:"from"`
	Name     string    `json:"name"`
	Severity string    `json:"severity"`
	State    string    `json:"state"`
	Since    time.Time `json:"since,omitzero"`
	Subject  string    `json:"subject,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	AckedBy  string    `json:"acknowledged_by,omitempty"`
	Silenced bool      `json:"silenced,omitempty"`
}

// AlarmsList lists what somebody should look at.
func AlarmsList() *cobra.Command {
	var all bool
	command := question{
		use: "list", short: "List what somebody should look at: alarms of the service, and alerts of Nissa's rules",
		long: "Lists what somebody should look at: alarms of the foundation service (docs/operations/alarms.md says what to\n" +
			"do), which have no id, and alerts of Nissa's rules, which have one for esperctl alarms ack. One of the two that does not\n" +
			"answer is told of, and is an error when neither does.",
		answer: func(ctx context.Context, _ []string, to *answer) error {
			found, failed := allRaised(ctx, all)
			if failed != nil && len(found) == 0 {
				return failed
			}
			err := to.Print(to.out, found, func(table io.Writer) {
				if len(found) == 0 {
					terminal.Row(table, "nothing is raised")
					return
				}
				terminal.Row(table, "NAME", "ID", "SEVERITY", "STATE", "FOR", "WHAT")
				for _, r := range found {
					terminal.Row(table, r.Name, terminal.OrDash(r.ID), r.Severity, r.Standing(), to.age(r.Since), r.What())
				}
			})
			if err != nil {
				return err
			}
			return failed
		},
	}.command()
	command.Flags().BoolVar(&all, "all", false, "those that have ended lately, too")
	return command
}

// Standing is whether somebody has taken it up, or else its state.
func (r *Raised) Standing() string {
	switch {
	case r.AckedBy != "":
		return "taken up"
	case r.Silenced:
		return "silenced"
	default:
		return r.State
	}
}

// What says of what and why.
func (r *Raised) What() string {
	return terminal.OrDash(strings.Trim(r.Subject+": "+r.Detail, ": "))
}

// allRaised asks both services. What it found of one stands beside the failure of the other.
func allRaised(ctx context.Context, all bool) ([]Raised, error) {
	found := []Raised{}
	service, failed := weatherlight()
	if failed == nil {
		var page Service
		if failed = service.Get(ctx, "/status", nil, &page); failed == nil {
			found = append(found, page.Raised()...)
		}
	}
	alerts, err := alertsOfNissa(ctx)
	if failed == nil {
		failed = err
	}
	if !all {
		alerts = slices.DeleteFunc(alerts, over)
	}
	return append(found, alerts...), failed
}

// Raised are its alarms.
func (s *Service) Raised() (found []Raised) {
	for _, a := range s.Alarms {
		state := "raised"
		if a.Gone {
			state = "ending"
		}
		found = append(found, Raised{
			From: "weatherlight", Name: a.Name, Severity: a.Severity, State: state, Since: a.Since, Subject: a.Subject, Detail: a.Detail,
		})
	}
	return found
}

// unwell are the workers that do not run as they should.
func (s *Service) unwell() (found []worker) {
	for _, w := range s.Workers {
		if slices.Contains([]string{"backing_off", "degraded", "failed", "abandoned"}, w.State) {
			found = append(found, w)
		}
	}
	return found
}
