package main

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/knadh/koanf/parsers/yaml"

	"github.com/postrider/postrider/internal/config"
)

const deployDir = "../../deploy"

// deployFile reads a file of deploy/.
func deployFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deployDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// deployYAML reads a YAML file of deploy/ into v, by way of JSON so that its fields have types.
func deployYAML(t *testing.T, name string, v any) {
	t.Helper()
	m, err := yaml.Parser().Unmarshal([]byte(deployFile(t, name)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	b, err := json.Marshal(m)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// parses checks that the command line knows a command and its flags.
func parses(t *testing.T, where string, args []string) {
	t.Helper()
	parser, err := kong.New(newCLI(), kong.ExplicitGroups(groups()), kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Errorf("%s: postrider %s: %v", where, strings.Join(args, " "), err)
	}
}

type composeService struct {
	Image       string            `json:"image"`
	Command     []string          `json:"command"`
	Environment map[string]string `json:"environment"`
	Secrets     []any             `json:"secrets"`
	Volumes     []string          `json:"volumes"`
	Networks    []string          `json:"networks"`
	Ports       []string          `json:"ports"`
	Expose      []string          `json:"expose"`
	DependsOn   any               `json:"depends_on"`
	ReadOnly    bool              `json:"read_only"`
	CapDrop     []string          `json:"cap_drop"`
	Healthcheck struct {
		Test []string `json:"test"`
	} `json:"healthcheck"`
}

type composeFile struct {
	Services map[string]composeService  `json:"services"`
	Networks map[string]json.RawMessage `json:"networks"`
	Volumes  map[string]json.RawMessage `json:"volumes"`
	Secrets  map[string]struct {
		File string `json:"file"`
	} `json:"secrets"`
}

// mounted are the files that a service finds its secrets in, by their path in the container.
func (f *composeFile) mounted(t *testing.T, name string, s composeService) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, secret := range s.Secrets {
		source, target := "", ""
		switch x := secret.(type) {
		case string:
			source, target = x, "/run/secrets/"+x
		case map[string]any:
			source, target = x["source"].(string), x["target"].(string)
		}
		if f.Secrets[source].File == "" {
			t.Errorf("%s: there is no secret %s", name, source)
		}
		files[target] = f.Secrets[source].File
	}
	return files
}

// TestDeployCompose holds the compose file against the settings, the command line and the other files.
func TestDeployCompose(t *testing.T) {
	var f composeFile
	deployYAML(t, "compose.yaml", &f)
	image := readContainerfile(t)
	secrets := composeSecrets(t)
	ours := 0
	for _, name := range slices.Sorted(maps.Keys(f.Services)) {
		s := f.Services[name]
		mounted := f.mounted(t, name, s)
		for _, n := range s.Networks {
			if _, ok := f.Networks[n]; !ok {
				t.Errorf("%s: there is no network %s", name, n)
			}
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if _, named := f.Volumes[source]; !named && !strings.HasPrefix(source, "./secrets") && !fileExists(filepath.Join(deployDir, source)) {
				t.Errorf("%s: there is neither a volume nor a file %s", name, source)
			}
		}
		deps, _ := s.DependsOn.(map[string]any)
		for on := range deps {
			if _, ok := f.Services[on]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, on)
			}
		}
		if !strings.Contains(s.Image, "postrider:") {
			continue
		}
		ours++
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("%s may do more than it needs", name)
		}
		parses(t, name, s.Command)
		environ := maps.Clone(image.env)
		maps.Copy(environ, s.Environment)
		settings := loadDeployed(t, name, environ, mounted, secrets)
		if settings == nil || s.Command[0] != "serve" {
			continue
		}
		if got := s.Healthcheck.Test[1:]; !slices.Equal(got, image.health) {
			t.Errorf("%s: its health check %q is not the image's, %q", name, got, image.health)
		}
		for i, listen := range []string{settings.Listen[0], settings.MetricsListen} {
			if _, port, _ := net.SplitHostPort(listen); s.Expose[i] != port {
				t.Errorf("%s listens on %s and exposes %s", name, listen, s.Expose[i])
			}
		}
		if !strings.Contains(deployFile(t, "haproxy.cfg"), "server "+name+" "+name+":"+s.Expose[0]+"\n") {
			t.Errorf("haproxy.cfg does not know %s:%s", name, s.Expose[0])
		}
		if _, ok := mounted[filepath.Join(settings.Data, operatorHashFile)]; !ok {
			t.Errorf("%s: the operator's key is in no file that it looks at", name)
		}
	}
	if ours != 5 {
		t.Errorf("%d services run postrider", ours)
	}
}

// composeSecrets are files such as make-secrets.sh and setup make, by their path below deploy/.
func composeSecrets(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sh := exec.CommandContext(t.Context(), "sh", "make-secrets.sh", filepath.Join(dir, "secrets"))
	sh.Dir = deployDir
	if out, err := sh.CombinedOutput(); err != nil && os.Geteuid() == 0 { // only root may give files away, which comes last
		t.Fatalf("make-secrets.sh: %v: %s", err, out)
	}
	keys := filepath.Join(dir, "secrets", "keys")
	if status, _, stderr := inProcess(t.Context(), t, "", "setup", "--data", keys, "--tenant", "acme", "--email", "a@example.com"); status != exitOK {
		t.Fatalf("setup: %s", stderr)
	}
	return dir
}

// loadDeployed reads settings as a container would, where secrets stand for the files in /run/secrets.
func loadDeployed(t *testing.T, name string, environ, mounted map[string]string, secrets string) *config.Settings {
	t.Helper()
	var list []string
	for key, value := range environ {
		if strings.HasSuffix(key, "_FILE") {
			file, ok := mounted[value]
			if !ok {
				t.Errorf("%s: %s is %s, which is not mounted", name, key, value)
			}
			value = filepath.Join(secrets, file)
		}
		list = append(list, key+"="+value)
	}
	s, err := config.Load(config.Sources{Environ: list})
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return nil
	}
	return s
}

type containerfile struct {
	lines  [][2]string // instruction and the rest, of the last stage
	env    map[string]string
	health []string
	entry  []string
	cmd    []string
	user   string
}

// readContainerfile reads the last stage.
func readContainerfile(t *testing.T) containerfile {
	t.Helper()
	c := containerfile{env: map[string]string{}}
	list := func(text string) (words []string) {
		if err := json.Unmarshal([]byte(text), &words); err != nil {
			t.Errorf("Containerfile: %s: %v", text, err)
		}
		return words
	}
	for line := range strings.SplitSeq(strings.ReplaceAll(deployFile(t, "Containerfile"), "\\\n", " "), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "", "#":
			continue
		case "FROM":
			c = containerfile{env: map[string]string{}}
		case "ENV":
			key, value, _ := strings.Cut(rest, "=")
			c.env[key] = value
		case "USER":
			c.user = rest
		case "ENTRYPOINT":
			c.entry = list(rest)
		case "CMD":
			c.cmd = list(rest)
		case "HEALTHCHECK":
			_, check, _ := strings.Cut(rest, "CMD ")
			c.health = list(check)
		}
		c.lines = append(c.lines, [2]string{word, rest})
	}
	delete(c.env, "PATH")
	return c
}

// TestDeployContainerfile: what the image runs is in it, is known to the command line, and is not root's.
func TestDeployContainerfile(t *testing.T) {
	c := readContainerfile(t)
	if c.lines[0] != [2]string{"FROM", "scratch"} || c.user != "65532:65532" {
		t.Errorf("the last stage is from %q and runs as %q", c.lines[0][1], c.user)
	}
	program := c.entry[0]
	if !slices.ContainsFunc(c.lines, func(l [2]string) bool { return l[0] == "COPY" && strings.HasSuffix(l[1], " "+program) }) || c.health[0] != program {
		t.Errorf("%s is not copied into the image, or not what the health check runs", program)
	}
	parses(t, "CMD", c.cmd)
	parses(t, "HEALTHCHECK", c.health[1:])
	s, err := config.Load(config.Sources{Environ: entries(c.env)})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.Listen[0])
	if !slices.Contains(c.lines, [2]string{"EXPOSE", port}) || !slices.Contains(c.lines, [2]string{"VOLUME", s.Data}) {
		t.Errorf("port %s or directory %s is not told", port, s.Data)
	}
}

func entries(m map[string]string) (list []string) {
	for k, v := range m {
		list = append(list, k+"="+v)
	}
	return list
}

// TestDeployUnit: the unit is one that systemd takes, starts what there is, and is shut off from the rest of the machine.
func TestDeployUnit(t *testing.T) {
	unit := deployFile(t, "postrider.service")
	start := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/postrider (.*)$`).FindStringSubmatch(unit)
	if start == nil {
		t.Fatal("no ExecStart")
	}
	parses(t, "ExecStart", strings.Fields(start[1]))
	environ := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^#?Environment=(POSTRIDER_\w+)=(.*)$`).FindAllStringSubmatch(unit, -1) {
		environ[m[1]] = m[2]
	}
	scan := bufio.NewScanner(strings.NewReader(deployFile(t, "postrider.env")))
	for scan.Scan() {
		if m := regexp.MustCompile(`^#?(POSTRIDER_\w+)=(.*)$`).FindStringSubmatch(scan.Text()); m != nil {
			environ[m[1]] = m[2]
		}
	}
	// What is commented out is read too; the files of the URLs are ours.
	secrets := composeSecrets(t)
	url := map[string]string{"POSTRIDER_DATABASE_URL_FILE": "web-url", "POSTRIDER_DELIVERY_DATABASE_URL_FILE": "sender-url", "POSTRIDER_REDIS_URL_FILE": "redis-url"}
	mounted := map[string]string{}
	for key, file := range url {
		mounted[environ[key]] = filepath.Join("secrets", file)
	}
	if s := loadDeployed(t, "postrider.env", environ, mounted, secrets); s != nil && s.Data != "/var/lib/postrider" {
		t.Errorf("the data directory is %q and not systemd's StateDirectory", s.Data)
	}

	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	file := filepath.Join(t.TempDir(), "postrider.service")
	if err := os.WriteFile(file, []byte(strings.Replace(unit, "/usr/local/bin/postrider", "/bin/true", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", file}, {"security", "--offline=true", "--threshold=15", "--no-pager", file}} {
		out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}
