package infra

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/esper-lite/weatherlight/settings"
)

const manifests = "kubernetes"

// resource is what the tests look at of a manifest. What it may hold is for its schema to say.
type resource struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		ServiceName string `yaml:"serviceName"`
		MinReady    int    `yaml:"minReadySeconds"`
		Unavailable int    `yaml:"maxUnavailable"`
		NotReady    bool   `yaml:"publishNotReadyAddresses"`
		ClusterIP   string `yaml:"clusterIP"`
		Selector    struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
			Name        string            `yaml:"app.kubernetes.io/name"` // of the pods of a service
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     pod
		}
		VolumeClaimTemplates []struct{ Metadata struct{ Name string } } `yaml:"volumeClaimTemplates"`
		Ports                []struct {
			Port       int
			TargetPort string `yaml:"targetPort"`
		}
	}
}

type pod struct {
	Grace           int `yaml:"terminationGracePeriodSeconds"` // seconds
	SecurityContext struct {
		RunAsNonRoot bool `yaml:"runAsNonRoot"`
	} `yaml:"securityContext"`
	Containers []podContainer
	Volumes    []struct {
		Name      string
		ConfigMap struct{ Name string } `yaml:"configMap"`
		Secret    struct{ Items []struct{ Path string } }
	}
}

type podContainer struct {
	Image         string
	Command, Args []string
	Env           []struct {
		Name, Value string
		ValueFrom   struct {
			SecretKeyRef struct{ Name, Key string } `yaml:"secretKeyRef"`
		} `yaml:"valueFrom"`
	}
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	SecurityContext struct {
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		Capabilities             struct{ Drop []string }
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
	Readiness any `yaml:"readinessProbe"`
	Liveness  any `yaml:"livenessProbe"`
}

// schemas are those of the oldest and of the newest Kubernetes that the checker knows.
var schemas = []string{"1.25.0", "1.37.0"}

// validate checks manifests against the schemas of a Kubernetes, which forbid what they do not name.
func validate(t testing.TB, version string, files ...string) (said string, err error) {
	t.Helper()
	checker, err := filepath.Abs(filepath.Join("..", "var", "kubernetes", "venv", "bin", "kubernetes-validate"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(checker); err != nil {
		t.Fatalf("%v: tools/schemas.sh installs it", err)
	}
	said, err = attempt(".", nil, checker, append([]string{"--strict", "--no-warn", "-k", version}, files...)...)
	resources := 0
	for _, file := range files {
		resources += strings.Count("\n"+read(t, file), "\nkind: ")
	}
	// It passes over what has no schema.
	if passed := strings.Count(said, " passed for resource "); err == nil && passed != resources {
		err = fmt.Errorf("%d of %d resources fit a schema", passed, resources)
	}
	return said, err
}

func manifestFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(manifests, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no manifests: %v", err)
	}
	return files
}

func TestManifestsFitTheirSchemas(t *testing.T) {
	for _, version := range schemas {
		if said, err := validate(t, version, manifestFiles(t)...); err != nil {
			t.Errorf("Kubernetes %s: %v\n%s", version, err, said)
		}
	}
}

// TestUnsoundManifestsAreFound: a check that lets everything pass would be none.
func TestUnsoundManifestsAreFound(t *testing.T) {
	sound := read(t, manifests, "nissa.yaml")
	for _, mutant := range []struct{ what, old, instead string }{
		{"misspelled field", "readinessProbe:", "readynessProbe:"},
		{"number that is none", "replicas: 1", "replicas: one"},
		{"missing selector", "  selector:\n    matchLabels: {app.kubernetes.io/name: nissa}\n", ""},
		{"resource that is none", "kind: StatefulSet", "kind: StatefulSets"},
	} {
		broken := strings.Replace(sound, mutant.old, mutant.instead, 1)
		if broken == sound {
			t.Errorf("%s: the manifest does not say %q", mutant.what, mutant.old)
		}
		file := filepath.Join(t.TempDir(), "nissa.yaml")
		if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if said, err := validate(t, schemas[1], file); err == nil {
			t.Errorf("%s: nothing is found: %s", mutant.what, said)
		}
	}
}

// kustomization is what is applied: manifests, and files that become configuration.
type kustomization struct {
	APIVersion         string `yaml:"apiVersion"`
	Kind, Namespace    string
	Resources          []string
	Images             []map[string]string
	ConfigMapGenerator []struct {
		Name  string
		Files []string
	} `yaml:"configMapGenerator"`
}

// resources reads all manifests, and the configuration that is made of files: the names of its parts, by its own.
func resources(t testing.TB) (all []resource, config map[string][]string) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(read(t, "kustomization.yaml")))
	decoder.KnownFields(true)
	var k kustomization
	if err := decoder.Decode(&k); err != nil {
		t.Fatal(err)
	}
	if files := manifestFiles(t); !slices.Equal(slices.Sorted(slices.Values(k.Resources)), files) {
		t.Errorf("%v are applied, there are %v", k.Resources, files)
	}
	config = make(map[string][]string)
	for _, made := range k.ConfigMapGenerator {
		for _, file := range made.Files {
			name, path, renamed := strings.Cut(file, "=")
			if !renamed {
				name, path = filepath.Base(file), file
			}
			if read(t, path) != "" {
				config[made.Name] = append(config[made.Name], name)
			}
		}
	}
	for _, file := range k.Resources {
		decoder := yaml.NewDecoder(bytes.NewReader([]byte(read(t, file))))
		for {
			var r resource
			if err := decoder.Decode(&r); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			all = append(all, r)
		}
	}
	return all, config
}

// workloads are those that have containers, with the one that each has.
func workloads(t testing.TB, all []resource) map[string]podContainer {
	t.Helper()
	found := make(map[string]podContainer)
	for _, r := range all {
		if r.Kind != "StatefulSet" {
			continue
		}
		if len(r.Spec.Template.Spec.Containers) != 1 || r.Spec.ServiceName != r.Metadata.Name {
			t.Fatalf("%s: %+v", r.Metadata.Name, r.Spec)
		}
		found[r.Metadata.Name] = r.Spec.Template.Spec.Containers[0]
	}
	return found
}

// What the schemas cannot say: that the parts fit each other.
func TestManifestsFitEachOther(t *testing.T) {
	all, config := resources(t)
	containers := workloads(t, all)
	reaches := map[string]string{"weatherlight": "true", "nissa": "true"} // Redis
	for _, name := range []string{"redis", "weatherlight", "nissa", "prometheus", "alertmanager", "grafana"} {
		if containers[name].Image == "" {
			t.Errorf("%s is not there", name)
		}
	}
	for _, r := range all {
		name := r.Metadata.Name
		switch r.Kind {
		case "Service":
			for i, port := range r.Spec.Ports {
				if own := containers[r.Spec.Selector.Name].Ports; i >= len(own) || own[i].Name != port.TargetPort || own[i].ContainerPort != port.Port {
					t.Errorf("%s serves %+v, its container listens at %+v", name, port, own)
				}
			}
		case "StatefulSet":
			if labels := r.Spec.Template.Metadata.Labels; labels["app.kubernetes.io/name"] != name || labels["esper/bus"] != reaches[name] {
				t.Errorf("the pods of %s are labelled %v", name, labels)
			}
			mustMountWhatIsThere(t, r, config)
			mustBeConfined(t, name, r.Spec.Template.Spec)
		}
	}
}

// Trainers are sent to pods that are ready, also while pods are replaced.
func TestTrainersAreSentToPodsThatAreReady(t *testing.T) {
	all, _ := resources(t)
	advertised := ""
	for _, variable := range workloads(t, all)["weatherlight"].Env {
		if variable.Name == "WEATHERLIGHT_ADVERTISE_URL" {
			advertised = variable.Value
		}
	}
	at := slices.IndexFunc(all, func(r resource) bool {
		return r.Kind == "Service" && advertised == "http://"+r.Metadata.Name+":9180"
	})
	if at < 0 {
		t.Fatalf("no service is at %q", advertised)
	}
	if of := all[at].Spec; of.Selector.Name != "weatherlight" || of.NotReady || of.ClusterIP == "None" {
		t.Errorf("%s leads to pods that are not ready: %+v", advertised, of)
	}
}

// leaseSeconds is how long an instance leads without renewing that.
const leaseSeconds = 3

// Instances are taken away one at a time, and the next not before the lead is in other hands.
func TestInstancesAreReplacedOneByOne(t *testing.T) {
	all, _ := resources(t)
	budgets, ready := map[string]int{}, map[string]int{}
	for _, r := range all {
		switch r.Kind {
		case "PodDisruptionBudget":
			budgets[r.Spec.Selector.MatchLabels["app.kubernetes.io/name"]] = r.Spec.Unavailable
		case "StatefulSet":
			ready[r.Metadata.Name] = r.Spec.MinReady
		}
	}
	if budgets["weatherlight"] != 1 || ready["weatherlight"] <= leaseSeconds {
		t.Errorf("%d pods may be away at once, the next goes %d s after one is ready", budgets["weatherlight"], ready["weatherlight"])
	}
}

func mustMountWhatIsThere(t *testing.T, r resource, config map[string][]string) {
	t.Helper()
	volumes := make(map[string]bool)
	for _, claim := range r.Spec.VolumeClaimTemplates {
		volumes[claim.Metadata.Name] = true
	}
	for _, volume := range r.Spec.Template.Spec.Volumes {
		volumes[volume.Name] = true
		if name := volume.ConfigMap.Name; name != "" && len(config[name]) == 0 {
			t.Errorf("%s reads %s, which nothing makes", r.Metadata.Name, name)
		}
	}
	for _, mount := range r.Spec.Template.Spec.Containers[0].VolumeMounts {
		if !volumes[mount.Name] {
			t.Errorf("%s mounts %s, which is not there", r.Metadata.Name, mount.Name)
		}
	}
}

func mustBeConfined(t *testing.T, name string, p pod) {
	t.Helper()
	c := p.Containers[0]
	escalates := c.SecurityContext.AllowPrivilegeEscalation
	if !p.SecurityContext.RunAsNonRoot || !c.SecurityContext.ReadOnlyRootFilesystem || escalates == nil || *escalates ||
		!slices.Contains(c.SecurityContext.Capabilities.Drop, "ALL") {
		t.Errorf("%s may do more than it needs: %+v", name, c.SecurityContext)
	}
	if c.Readiness == nil || c.Liveness == nil {
		t.Errorf("nobody looks after %s", name)
	}
}

// The images beside ours, and how they are started, are those of the compose files.
func TestManifestsRunWhatComposeRuns(t *testing.T) {
	all, _ := resources(t)
	composed := observed(t).Services
	for name, c := range workloads(t, all) {
		if c.Image != composed[name].Image {
			t.Errorf("%s is %s, and %s in the compose files", name, c.Image, composed[name].Image)
		}
		for _, argument := range composed[name].Command {
			if !slices.Contains(slices.Concat(c.Command, c.Args), argument) {
				t.Errorf("%s is started without %s", name, argument)
			}
		}
	}
}

func TestManifestsSetWhatTheServicesKnow(t *testing.T) {
	all, config := resources(t)
	image := readDockerfile(t)
	for _, r := range all {
		if r.Kind != "StatefulSet" || !strings.HasPrefix(r.Spec.Template.Spec.Containers[0].Image, "esper-lite/") {
			continue
		}
		name, c := r.Metadata.Name, r.Spec.Template.Spec.Containers[0]
		if !slices.Contains(image.commands(), c.Command[0]) {
			t.Errorf("%s runs %v, the image holds %v", name, c.Command, image.commands())
		}
		var environ []string
		for _, v := range c.Env {
			if v.Value == "" { // it is given by the cluster
				v.Value = secret
			}
			environ = append(environ, v.Name+"="+v.Value)
			path, isPath := strings.CutPrefix(v.Value, "/etc/esper/")
			if isPath && !slices.Contains(config["nissa-rules"], path) {
				t.Errorf("%s reads %s, which nothing makes", name, v.Value)
			}
		}
		resolved, err := settings.Load(settings.Options{Environ: environ, EnvFile: os.DevNull})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		known := make(map[string]bool)
		for _, field := range resolved.Fields() {
			known[field.Env] = true
		}
		for _, v := range c.Env {
			if !known[v.Name] {
				t.Errorf("%s sets %s, which no setting reads", name, v.Name)
			}
		}
		if grace := time.Duration(r.Spec.Template.Spec.Grace) * time.Second; grace <= resolved.Weatherlight.ShutdownTimeout {
			t.Errorf("%s is killed after %s, its stop may take %s", name, grace, resolved.Weatherlight.ShutdownTimeout)
		}
	}
}
