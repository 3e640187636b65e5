package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/karn"
)

// secret signs everything on the buses of this program.
const secret = "bench"

// service is a running Weatherlight with folders and ports of its own.
type service struct {
	*child
	httpAddr string
}

// serviceStatus is what we read of /status.
type serviceStatus struct {
	Bus  string `json:"bus"`
	Boot []struct {
		TookMs float64 `json:"took_ms"`
	} `json:"boot"`
	Workers []struct {
		Name  string `json:"name"`
		State string `json:"state"`
	} `json:"workers"`
	Drops []struct {
		Reason string `json:"reason"`
		Count  int64  `json:"count"`
	} `json:"drops"`
}

// serviceEnvironment are the settings of a service whose data lie in folder.
func serviceEnvironment(folder, busURL, httpAddr string, forge bool) []string {
	return append(os.Environ(),
		"ESPER_LEYLINE_SECRET="+secret,
		"REDIS_URL="+busURL,
		"WEATHERLIGHT_DATA_DIR="+filepath.Join(folder, "weatherlight"),
		"WEATHERLIGHT_HTTP_ADDR="+httpAddr,
		"WEATHERLIGHT_INSTANCE=bench",
		"URZA_DATABASE_URL="+databaseURL(folder),
		"URZA_ARTIFACT_DIR="+artifactDir(folder),
		"TAMIYO_POLICY_DIR="+filepath.Join(folder, "tamiyo", "policies"),
		fmt.Sprintf("TEZZERET_FORGE_ON_START=%v", forge),
		"ESP_LOG_LEVEL=WARNING",
	)
}

// permitAll are the settings of a service that may serve all 50 blueprints.
func permitAll() []string {
	var ids []string
	for _, blueprint := range karn.NewCatalog().List() {
		ids = append(ids, blueprint.GetBlueprintId())
	}
	all := strings.Join(ids, ",")
	return []string{"KARN_APPROVED=" + all, "KARN_QUARANTINE_GRANT=" + all}
}

// startService starts the built command and waits until it is ready. With
// profile it starts the same service inside this program instead, which writes
// a CPU profile of its life to that file.
func (b *bench) startService(ctx context.Context, folder, busURL string, forge bool, profile string, extra ...string) (*service, error) {
	if err := errors.Join(os.MkdirAll(folder, 0o755), b.build(ctx)); err != nil {
		return nil, fmt.Errorf("prepare service: %w", err)
	}
	addr, let, err := freeport.Hold()
	if err != nil {
		return nil, err
	}
	defer let() // it listens by then
	environment := append(serviceEnvironment(folder, busURL, addr, forge), extra...)
	s := &service{httpAddr: addr}
	if profile == "" {
		s.child, err = startChild(b.tools.service, nil, environment, folder)
	} else {
		s.child, err = startSelf([]string{childService, profile}, environment, folder)
	}
	if err != nil {
		return nil, err
	}
	if err := poll(ctx, s.ready); err != nil {
		_, stopErr := s.stop()
		return nil, errors.Join(fmt.Errorf("service is not ready: %w\n%s", err, s.output), stopErr)
	}
	return s, nil
}

func (s *service) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.httpAddr+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, response.Status)
	}
	return body, err
}

func (s *service) ready(ctx context.Context) error {
	_, err := s.get(ctx, "/readyz")
	return err
}

func (s *service) status(ctx context.Context) (serviceStatus, error) {
	var status serviceStatus
	body, err := s.get(ctx, "/status")
	if err == nil {
		err = json.Unmarshal(body, &status)
	}
	return status, err
}

// forgePause is long, because each look at the service costs it memory that is
// then taken for its own.
const forgePause = 250 * time.Millisecond

// awaitForge waits until the forge has been over the catalogue.
func (s *service) awaitForge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		status, err := s.status(ctx)
		if err != nil {
			return fmt.Errorf("wait for the forge: %w", err)
		}
		for _, worker := range status.Workers {
			if worker.Name == "tezzeret_forge" && worker.State == "finished" {
				return nil
			}
		}
		if err := rest(ctx, forgePause); err != nil {
			return fmt.Errorf("wait for the forge: %w", err)
		}
	}
}

// refused counts the entries that the service dropped: none, when the
// measurement is sound.
func (s *service) refused(ctx context.Context) error {
	status, err := s.status(ctx)
	if err != nil {
		return err
	}
	if len(status.Drops) > 0 {
		return fmt.Errorf("the service dropped entries: %v", status.Drops)
	}
	return nil
}

// rest waits, so that a process comes to rest.
func rest(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// inTurn calls each column's measurement once, from the other end in every
// second run, so that no peer always follows the same one.
func inTurn(run int, turns []turn) error {
	if run%2 == 1 {
		turns = slices.Clone(turns)
		slices.Reverse(turns)
	}
	for _, t := range turns {
		if err := t.measure(t.column); err != nil {
			return fmt.Errorf("run %d, %s: %w", run+1, t.column, err)
		}
	}
	return nil
}

// turn is one column's part of a run.
type turn struct {
	column  string
	measure func(column string) error
}
