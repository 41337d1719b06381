package console

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"aiadmin/pkg/apt"
	"aiadmin/test/pgtest"
)

// shared is the one browser of all tests; each has a profile of its own in it.
var shared struct {
	once sync.Once
	ctx  context.Context
	stop []context.CancelFunc
	skip string
}

func TestMain(m *testing.M) {
	code := pgtest.M{M: m}.Run()
	for i := len(shared.stop) - 1; i >= 0; i-- {
		shared.stop[i]()
	}
	os.Exit(code)
}

func chromium(t testing.TB) context.Context {
	t.Helper()
	shared.once.Do(startChromium)
	if shared.skip != "" {
		t.Skip(shared.skip)
	}
	return shared.ctx
}

func startChromium() {
	path, err := exec.LookPath("chromium")
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		if err := apt.Install(ctx, os.Stderr, "chromium", "fonts-dejavu-core"); err != nil {
			shared.skip = "the console is not tested: Chromium cannot be installed: " + err.Error()
			return
		}
		if path, err = exec.LookPath("chromium"); err != nil {
			shared.skip = "the console is not tested: there is no chromium after its installation"
			return
		}
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	shared.ctx, shared.stop = ctx, []context.CancelFunc{stop, cancel}
	if err := chromedp.Do(ctx); err != nil {
		shared.skip = "the console is not tested: Chromium does not start: " + err.Error()
	}
}

const patience = 30 * time.Second

// tab is a tab of a browser; those of one person share cookies.
type tab struct {
	testing.TB
	ctx     context.Context
	s       *service
	console string // the console's address
	profile context.Context

	mu     sync.Mutex
	faults []string // violations of the policy, and exceptions
	quiet  bool     // faults are what the test is about
}

// person opens a browser of its own.
func (s *service) person(t testing.TB) *tab {
	t.Helper()
	return s.tabIn(t, chromium(t), chromedp.WithNewBrowserContext())
}

// another opens another tab of the same person.
func (p *tab) another() *tab {
	p.Helper()
	return p.s.tabIn(p.TB, p.profile)
}

func (s *service) tabIn(t testing.TB, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	p := &tab{TB: t, s: s, console: s.url + "/ai/admin/console/"}
	var cancel context.CancelFunc
	p.ctx, cancel = chromedp.NewContext(parent, append(options, chromedp.WithListener(p.listen))...)
	p.profile = p.ctx
	t.Cleanup(cancel)
	if err := chromedp.Do(p.ctx); err != nil { // no time limit: the tab would end with it
		t.Fatal(err)
	}
	p.width(1280)
	command(p, cdplog.Enable, cdp.Empty{})
	t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.quiet && len(p.faults) > 0 {
			t.Errorf("the browser complains:\n%s", strings.Join(p.faults, "\n"))
		}
	})
	return p
}

// command sends a command of the protocol.
func command[P, R any](p *tab, c cdp.Command[P, R], parameters P) {
	p.Helper()
	p.run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, parameters)
		return err
	}))
}

// listen notes what a page must not do.
func (p *tab) listen(event any) {
	fault := ""
	switch e := event.(type) {
	case *cdplog.EventEntryAdded:
		if e.Entry.Source == cdplog.EntrySourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
			fault = "policy: " + e.Entry.Text
		}
	case *runtime.EventExceptionThrown:
		fault = fmt.Sprintf("exception: %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
	case *page.EventJavascriptDialogOpening:
		go command(p, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{Accept: true})
	}
	if fault != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.faults = append(p.faults, fault)
	}
}

func (p *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	if err := p.try(actions...); err != nil {
		p.Fatalf("%v\nat %s\n%.2000s", err, p.location(), p.text("body"))
	}
}

func (p *tab) try(actions ...chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Do(ctx, actions...)
}

// withoutJavaScript has pages run no code from now on.
func (p *tab) withoutJavaScript() *tab {
	command(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	return p
}

// open goes to a page of the console and waits until it is there.
func (p *tab) open(path string) {
	p.Helper()
	p.run(chromedp.Navigate(p.console+path), chromedp.WaitReady(chromedp.CSS("main")))
}

func (p *tab) location() string { return ask[string](p, "location.href") }

// ask evaluates an expression in the page, and returns the zero value where it cannot.
func ask[T any](p *tab, expression string) T {
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	value, _ := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	return value
}

// eval evaluates an expression in the page.
func eval[T any](p *tab, expression string) T {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.Fatalf("%.300s: %v\nat %s", expression, err, p.location())
	}
	return value
}

// do evaluates statements in the page.
func (p *tab) do(statements string) {
	p.Helper()
	p.run(chromedp.Evaluate[chromedp.Void](statements))
}

func (p *tab) text(selector string) string {
	return ask[string](p, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

func (p *tab) eval(expression string) string { p.Helper(); return eval[string](p, expression) }

// The ways to find something as people with screen readers do: by what it is and its name.
func field(label string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('main label')].filter(l => l.innerText.trim() === %q && l.control?.checkVisibility()).map(l => l.control)[0]`, label)
}

func button(name string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('button')].find(b => b.checkVisibility() && b.textContent.trim() === %q)`, name)
}

func link(name string) string {
	return fmt.Sprintf(`[...document.querySelectorAll('a')].find(a => a.checkVisibility() && a.textContent.trim() === %q)`, name)
}

// wait waits until an expression is true.
func (p *tab) wait(what, expression string) {
	p.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		if ask[bool](p, "!!("+expression+")") {
			return
		}
	}
	p.Fatalf("%s: not seen at %s\n%.3000s", what, p.location(), p.text("body"))
}

// sees waits until the page's main part has a text.
func (p *tab) sees(text string) {
	p.Helper()
	p.wait(text, fmt.Sprintf("document.readyState === 'complete' && document.querySelector('main')?.innerText.includes(%q)", text))
}

// fill types into the field with a label, by real keys.
func (p *tab) fill(label, text string) {
	p.Helper()
	p.wait("field "+label, field(label))
	p.do(field(label) + ".focus(); " + field(label) + ".select?.()")
	if text == "" {
		text = kb.Backspace
	}
	p.run(chromedp.KeyEvent(text))
}

// put sets a long value at once.
func (p *tab) put(label, text string) {
	p.Helper()
	p.wait("field "+label, field(label))
	p.do(fmt.Sprintf("%s.value = %q; %s.dispatchEvent(new Event('input', {bubbles: true}))", field(label), text, field(label)))
}

// press clicks on a button or link, and waits for the page that follows, if one does.
func (p *tab) press(element string) {
	p.Helper()
	p.wait(element, element)
	p.do("document.documentElement.dataset.left = ''; " + element + ".click()")
}

// follows presses and waits until another page is there.
func (p *tab) follows(element string) {
	p.Helper()
	p.press(element)
	p.wait("the page after "+element, "document.documentElement.dataset.left === undefined && document.readyState === 'complete' && document.querySelector('main')")
}

// signIn signs in by a token, through the form.
func (p *tab) signIn(token string) *tab {
	p.Helper()
	p.open("signin")
	p.put("Token", token)
	p.follows(button("Sign in"))
	return p
}

// bothWays goes through something with JavaScript and without, each time as another person who is signed in.
func (s *service) bothWays(t *testing.T, try func(p *tab, code bool)) {
	t.Helper()
	for _, code := range []bool{true, false} {
		t.Run(fmt.Sprintf("JavaScript %t", code), func(t *testing.T) {
			p := s.person(t)
			if !code {
				p.withoutJavaScript()
			}
			try(p.signIn(s.token), code)
		})
	}
}

// width sets the width of the window, in CSS pixels.
func (p *tab) width(pixels int64) {
	p.run(chromedp.EmulateViewport(pixels, 900))
}

// shot writes a picture of the whole page to dist/console.
func (p *tab) shot(name string) {
	p.Helper()
	p.picture(name, chromedp.FullScreenshot(100))
}

// view writes a picture of what is seen in a small window, for the docs.
func (p *tab) view(name string) {
	p.Helper()
	p.run(chromedp.EmulateViewport(1000, 640))
	p.picture("view-"+name, chromedp.CaptureScreenshot())
}

func (p *tab) picture(name string, take chromedp.Action[[]byte]) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, take)
	if err != nil {
		p.Fatal(err)
	}
	dir := filepath.Join("..", "..", "dist", "console")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
		p.Fatal(err)
	}
}

// saves lets the browser save files into a folder of its own, which it returns.
func (p *tab) saves() string {
	p.Helper()
	dir := p.TempDir()
	command(p, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: "allow", DownloadPath: dir,
		BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID})
	return dir
}

// saved waits until the browser has saved a file, and returns its lines.
func (p *tab) saved(dir, name string) []string {
	p.Helper()
	return strings.Split(strings.TrimRight(strings.ReplaceAll(p.savedFile(dir, name), "\r", ""), "\n"), "\n")
}

// savedFile waits until the browser has saved a file, and returns its content.
func (p *tab) savedFile(dir, name string) string {
	p.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if content, err := os.ReadFile(filepath.Join(dir, name)); err == nil && len(content) > 0 {
			return string(content)
		}
	}
	p.Fatalf("%s was not saved", name)
	return ""
}

// keys presses keys, wherever the focus is.
func (p *tab) keys(keys string) {
	p.Helper()
	p.run(chromedp.KeyEvent(keys))
}
