// Tests that failed in; what each of them went through out: the rules that were entered, the conditions that
// failed, with what in hand. Indexing and early exit are off, so that no rule is passed over in silence.
// What policy was asked on the way is asked.go's.
//
//go:build js && wasm

package main

import (
	"context"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// testTrace is the trace of one test, or of one case of a table.
type testTrace struct {
	Entrypoint string      `json:"entrypoint"`
	Case       *string     `json:"case,omitempty"`
	Failed     []condition `json:"failed"`
	Steps      []*step     `json:"steps"`
	// Dropped counts the rules entered beyond the bound.
	Dropped int     `json:"dropped"`
	Asked   []asked `json:"asked"`
}

// step is one body of a rule that was entered, as often as Times with the same outcome.
type step struct {
	Rule   string      `json:"rule"`
	File   string      `json:"file"`
	Line   int         `json:"line"`
	Held   bool        `json:"held"`
	Times  int         `json:"times"`
	Failed []condition `json:"failed"`
	Steps  []*step     `json:"steps"`
}

// condition is one that did not hold, with the values of what it looked at, as Rego terms.
type condition struct {
	File   string            `json:"file"`
	Line   int               `json:"line"`
	Column int               `json:"column"`
	Text   string            `json:"text"`
	Values map[string]string `json:"values,omitempty"`
}

// trace runs the tests named by the entry points once more, observed. The WebAssembly module of the reply
// has what the tests asked policy for as entry points.
func trace(ctx context.Context, req request) reply {
	compiler, err := compiled(req)
	if err != nil {
		return refuse(err)
	}
	written, err := parse(req.Files)
	if err != nil {
		return refuse(err)
	}
	store := inmem.NewFromObject(req.Data)
	out := reply{OK: true, Errors: []diagnostic{}}
	for _, entrypoint := range req.Entrypoints {
		if rules := compiler.GetRulesWithPrefix(refTo(entrypoint)); len(rules) == 1 {
			seen := newTestRecorder(newRecorder(compiler, written), rules[0])
			seen.run(ctx, store, entrypoint)
			out.Traces = append(out.Traces, seen.finish(entrypoint, req.Cases[entrypoint])...)
		}
	}
	if out.Wasm, err = answerAsked(ctx, req, out.Traces); err != nil {
		return refuse(err)
	}
	return out
}

// testRecorder is the recorder that knows the cases of a table, and what policy was asked.
type testRecorder struct {
	recorder
	rule  *ast.Rule
	cases []*caseSeen
	now   *caseSeen
}

// caseSeen is one case; the only one, where the test is no table.
type caseSeen struct {
	name    *string
	root    *ruleSeen
	dropped int
	asked   []question
	// fromStep and fromAsked are where the condition of the test that failed last began.
	fromStep, fromAsked int
}

func newTestRecorder(r recorder, rule *ast.Rule) *testRecorder {
	// A table is at no case before its first row: what happens until then belongs to none.
	t := &testRecorder{recorder: r, rule: rule, now: &caseSeen{root: r.ruleOf(rule)}}
	if !isTable(rule) {
		t.cases = append(t.cases, t.now)
	}
	return t
}

func (t *testRecorder) run(ctx context.Context, store storage.Store, entrypoint string) {
	within, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	query, err := rego.New(
		rego.Compiler(t.compiler),
		rego.Store(store),
		rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(refTo(entrypoint))))),
	).PrepareForEval(within)
	if err == nil {
		// An error of the evaluation is the test's own, and known already.
		_, _ = query.Eval(within, rego.EvalRuleIndexing(false), rego.EvalEarlyExit(false),
			rego.EvalQueryTracer(t), rego.EvalQueryTracer(&yielder{}))
	}
}

func (t *testRecorder) TraceEvent(event topdown.Event) {
	expr, isExpr := event.Node.(*ast.Expr)
	f := t.frames[event.QueryID]
	switch {
	case event.Op == topdown.EnterOp:
		t.enterTest(event)
	case event.Op == topdown.ExitOp:
		t.exit(event)
	case f == nil || !isExpr:
	case event.Op == topdown.EvalOp:
		t.evaluate(f, event, expr)
	case event.Op == topdown.FailOp:
		t.look(f, event, expr)
		// An `every` fails at what failed inside of it.
		if f.own && f.rule == t.now.root && !expr.IsEvery() {
			t.now.fromStep, t.now.fromAsked = f.steps, f.asked
		}
	}
}

func (t *testRecorder) enterTest(event topdown.Event) {
	before := t.dropped
	f, parent := t.enter(event)
	t.now.dropped += t.dropped - before
	rule, isRule := event.Node.(*ast.Rule)
	switch {
	case rule == t.rule && isRule:
		f.rule, f.test = t.now.root, true
	case parent != nil:
		f.around = parent.within
		f.test = !isRule && parent.test || isRule && isTestFile(rule.Loc().File)
	}
}

func (t *testRecorder) evaluate(f *frame, event topdown.Event, expr *ast.Expr) {
	f.within = withinOf(f.around, expr.With, event)
	if isTable(t.rule) && slices.Contains(t.rule.Body, expr) {
		t.atCase(f, event)
	}
	if condition := t.look(f, event, expr); condition != nil && condition.begins(expr) {
		f.steps, f.asked = len(f.rule.below), len(t.now.asked)
	}
	if f.test {
		t.now.asked = append(t.now.asked, t.questions(f.within, expr, event)...)
	}
}

// atCase turns to the case that a table is at.
func (t *testRecorder) atCase(f *frame, event topdown.Event) {
	name, known := caseAt(t.rule, event)
	if !known {
		return
	}
	at := slices.IndexFunc(t.cases, func(c *caseSeen) bool { return *c.name == name })
	if at < 0 {
		at = len(t.cases)
		t.cases = append(t.cases, &caseSeen{name: &name, root: t.ruleOf(t.rule)})
		t.entered = 0
	}
	t.now = t.cases[at]
	f.rule = t.now.root
}

func (t *testRecorder) finish(entrypoint string, cases []string) []testTrace {
	out := []testTrace{}
	for _, c := range t.cases {
		if c.name != nil && !slices.Contains(cases, *c.name) {
			continue
		}
		out = append(out, testTrace{
			Entrypoint: entrypoint, Case: c.name, Failed: c.root.failures(), Steps: steps(since(c.root.below, c.fromStep)),
			Dropped: c.dropped, Asked: worthAsking(c),
		})
	}
	return out
}

// failures are the conditions that did not hold, each with the values of its last attempt that failed.
func (s *ruleSeen) failures() []condition {
	out := []condition{}
	for _, c := range s.failed {
		values := map[string]string{}
		for _, seen := range c.Failures[len(c.Failures)-1] {
			values[seen.Name] = seen.String()
		}
		text := strings.Join(strings.Fields(c.Text), " ")
		out = append(out, condition{File: s.File, Line: c.Line, Column: c.Column, Text: text, Values: values})
	}
	return out
}

// since is what came after the first from of all; all, where nothing did because the answers were known by then.
func since[T any](all []T, from int) []T {
	if from < len(all) {
		return all[from:]
	}
	return all
}

// steps counts equal rules that follow each other instead of listing them, and leaves out fixtures.
func steps(rules []*ruleSeen) []*step {
	out := []*step{}
	for _, r := range rules {
		s := &step{
			Rule: r.Rule, File: r.File, Line: r.Line, Held: r.Holds, Times: 1, Failed: r.failures(), Steps: steps(r.below),
		}
		if s.Held && len(s.Steps) == 0 && isTestFile(s.File) {
			continue
		}
		if last := len(out) - 1; last >= 0 && sameStep(out[last], s) {
			out[last].Times++
			continue
		}
		out = append(out, s)
	}
	return out
}

func sameStep(a, b *step) bool {
	return a.File == b.File && a.Line == b.Line && a.Rule == b.Rule && a.Held == b.Held &&
		len(a.Steps) == 0 && len(b.Steps) == 0 &&
		slices.EqualFunc(a.Failed, b.Failed, func(x, y condition) bool { return x.Line == y.Line && x.Column == y.Column })
}
