package infra

import (
	"os"
	"path"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/settings"
)

// secretsFolder is where containers find what is secret.
const secretsFolder = "/run/secrets/"

// scraped are the files with the tokens that Prometheus sends, by whom it asks.
func scraped(t *testing.T) map[string]string {
	t.Helper()
	var config struct {
		Jobs []struct {
			Name          string `yaml:"job_name"`
			Authorization struct {
				File string `yaml:"credentials_file"`
			}
		} `yaml:"scrape_configs"`
	}
	parse(t, &config, observability, "prometheus.yml")
	sent := make(map[string]string)
	for _, job := range config.Jobs {
		sent[job.Name] = job.Authorization.File
	}
	return sent
}

// mustHaveItsToken: a service that other machines reach has one from a file that is mounted, and Prometheus sends it.
func mustHaveItsToken(t *testing.T, name string, environ []string, mounted map[string][]string) {
	t.Helper()
	resolved, err := settings.Load(settings.Options{Environ: environ, EnvFile: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	listener := resolved.Weatherlight.Listener()
	if name == "nissa" {
		listener = resolved.Nissa.Listener()
	}
	file := listener.TokenFile
	if !strings.HasPrefix(string(listener.Addr), "0.0.0.0:") || !strings.HasPrefix(file, secretsFolder) || scraped(t)[name] != file {
		t.Errorf("%s listens at %s with the tokens of %q, Prometheus sends that of %q", name, listener.Addr, file, scraped(t)[name])
	}
	for _, reader := range []string{name, "prometheus"} {
		if !strings.Contains(strings.Join(mounted[reader], " ")+" ", path.Base(file)+" ") {
			t.Errorf("%s reads %s and is given %q", reader, file, mounted[reader])
		}
	}
}

func TestComposeServicesHaveTheirTokens(t *testing.T) {
	d, mounted := observed(t), make(map[string][]string)
	for name, c := range d.Services {
		for _, given := range c.Secrets {
			mounted[name] = append(mounted[name], given.Source)
		}
	}
	for name, c := range d.ours() {
		mustHaveItsToken(t, name, c.environ(), mounted)
	}
}

func TestPodsHaveTheirTokens(t *testing.T) {
	all, _ := resources(t)
	mounted := make(map[string][]string)
	for _, r := range all {
		for _, volume := range r.Spec.Template.Spec.Volumes {
			for _, item := range volume.Secret.Items {
				mounted[r.Metadata.Name] = append(mounted[r.Metadata.Name], item.Path)
			}
			for _, mount := range r.Spec.Template.Spec.Containers[0].VolumeMounts {
				if mount.Name == volume.Name && len(volume.Secret.Items) > 0 && mount.MountPath+"/" != secretsFolder {
					t.Errorf("%s has its tokens in %s", r.Metadata.Name, mount.MountPath)
				}
			}
		}
	}
	for name, c := range workloads(t, all) {
		if !strings.HasPrefix(c.Image, "esper-lite/") {
			continue
		}
		var environ []string
		for _, v := range c.Env {
			if v.Value == "" {
				v.Value = secret
			}
			environ = append(environ, v.Name+"="+v.Value)
		}
		mustHaveItsToken(t, name, environ, mounted)
	}
}
