// Tests that failed in; what each of them went through out: the rules that were entered, the expressions that
// failed, with what in hand. Indexing and early exit are off, so that no rule is passed over in silence.
// What policy was asked on the way is asked.go's.
//
//go:build js && wasm

package main

import (
	"context"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// maxSteps bounds the trace of one test; what comes after is counted.
const maxSteps = 500

// testTrace is the trace of one test, or of one case of a table.
type testTrace struct {
	Entrypoint string      `json:"entrypoint"`
	Case       *string     `json:"case,omitempty"`
	Failed     []condition `json:"failed"`
	Steps      []*step     `json:"steps"`
	// Dropped counts the rules entered beyond maxSteps.
	Dropped int     `json:"dropped"`
	Asked   []asked `json:"asked"`
}

// trace runs the tests named by the entry points once more, observed. The WebAssembly module of the reply
// has what the tests asked policy for as entry points.
func trace(ctx context.Context, req request) reply {
	compiler, err := compiled(req)
	if err != nil {
		return refuse(err)
	}
	store := inmem.NewFromObject(req.Data)
	out := reply{OK: true, Errors: []diagnostic{}}
	for _, entrypoint := range req.Entrypoints {
		rules := compiler.GetRulesWithPrefix(refTo(entrypoint))
		if len(rules) != 1 {
			continue
		}
		r := newRecorder(compiler, entrypoint, rules[0])
		within, cancel := context.WithTimeout(ctx, testTimeout)
		query, err := rego.New(
			rego.Compiler(compiler),
			rego.Store(store),
			rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(refTo(entrypoint))))),
		).PrepareForEval(within)
		if err == nil {
			// An error of the evaluation is the test's own, and known already.
			_, _ = query.Eval(within, rego.EvalRuleIndexing(false), rego.EvalEarlyExit(false),
				rego.EvalQueryTracer(r), rego.EvalQueryTracer(&yielder{}))
		}
		cancel()
		out.Traces = append(out.Traces, r.finish(req.Cases[entrypoint])...)
	}
	if out.Wasm, err = answerAsked(ctx, req, out.Traces); err != nil {
		return refuse(err)
	}
	return out
}

// frame is one query under way.
type frame struct {
	step *step
	// own: what fails in this query fails its rule, unlike the inside of a comprehension or a `not`.
	own   bool
	every bool
	test  bool
	rule  *ast.Rule
	expr  *ast.Expr
	// begun: expr is one of the pieces that the compiler made of what the author wrote, and not the first. steps and
	// asked are how many there were of them before the first.
	begun        bool
	steps, asked int
	// around is what `with` put in place around the query, within what it puts around the expression at hand.
	around []*ast.With
	within []*ast.With
}

// recorder makes a testTrace of the events of one test.
type recorder struct {
	compiler   *ast.Compiler
	entrypoint string
	rule       *ast.Rule
	frames     map[uint64]*frame
	traces     []*recorded
	now        *recorded
}

// recorded is the trace of one case; of the only one, where the test is no table.
type recorded struct {
	name  *string
	root  step
	steps int
	drop  int
	asked []question
	// fromStep and fromAsked are where the expression of the test that failed last began.
	fromStep, fromAsked int
}

func newRecorder(compiler *ast.Compiler, entrypoint string, rule *ast.Rule) *recorder {
	// A table is at no case before its first row: what happens until then belongs to none.
	first := &recorded{}
	r := &recorder{compiler: compiler, entrypoint: entrypoint, rule: rule, frames: map[uint64]*frame{}, now: first}
	if !isTable(rule) {
		r.traces = append(r.traces, first)
	}
	return r
}

func (*recorder) Enabled() bool { return true }

func (*recorder) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

func (r *recorder) TraceEvent(event topdown.Event) {
	switch event.Op {
	case topdown.EnterOp:
		r.enter(event)
	case topdown.EvalOp:
		r.evaluate(event)
	case topdown.FailOp:
		r.fail(event)
	case topdown.ExitOp:
		if f := r.frames[event.QueryID]; f != nil && event.HasRule() {
			f.step.Held = true
		}
	}
}

func (r *recorder) enter(event topdown.Event) {
	parent := r.frames[event.ParentID]
	rule, isRule := event.Node.(*ast.Rule)
	switch {
	case isRule && rule == r.rule:
		r.frames[event.QueryID] = &frame{step: &r.now.root, rule: rule, own: true, test: true}
	case parent == nil:
		return
	case isRule:
		test := isTestFile(rule.Loc().File)
		r.frames[event.QueryID] = &frame{step: r.newStep(parent, rule), rule: rule, own: true, test: test, around: parent.within}
	default:
		expr, _ := event.Node.(*ast.Expr)
		every := expr != nil && expr.IsEvery()
		own := parent.own && (every || parent.every)
		r.frames[event.QueryID] = &frame{
			step: parent.step, rule: parent.rule, own: own, every: every, test: parent.test, around: parent.within,
		}
	}
}

func (r *recorder) newStep(parent *frame, rule *ast.Rule) *step {
	at := rule.Loc()
	entered := &step{Rule: rule.Ref().String(), File: at.File, Line: at.Row, Times: 1, Failed: []condition{}, Steps: []*step{}}
	if r.now.steps++; r.now.steps > maxSteps {
		r.now.drop++
		return entered
	}
	parent.step.Steps = append(parent.step.Steps, entered)
	return entered
}

func (r *recorder) evaluate(event topdown.Event) {
	f := r.frames[event.QueryID]
	expr, ok := event.Node.(*ast.Expr)
	if f == nil || !ok {
		return
	}
	f.expr = expr
	f.within = withinOf(f.around, expr.With, event)
	if isTable(r.rule) && slices.Contains(r.rule.Body, expr) {
		r.atCase(f, event)
	}
	if !f.begun {
		f.steps, f.asked = len(f.step.Steps), len(r.now.asked)
	}
	f.begun = expr.Generated
	if f.test {
		r.now.asked = append(r.now.asked, r.questions(f, event)...)
	}
}

// atCase turns to the case that a table is at.
func (r *recorder) atCase(f *frame, event topdown.Event) {
	name, known := caseAt(r.rule, event)
	if !known {
		return
	}
	at := slices.IndexFunc(r.traces, func(t *recorded) bool { return *t.name == name })
	if at < 0 {
		at = len(r.traces)
		r.traces = append(r.traces, &recorded{name: &name})
	}
	r.now = r.traces[at]
	f.step = &r.now.root
}

func (r *recorder) finish(cases []string) []testTrace {
	out := []testTrace{}
	for _, t := range r.traces {
		if t.name != nil && !slices.Contains(cases, *t.name) {
			continue
		}
		failed := t.root.Failed
		if failed == nil {
			failed = []condition{}
		}
		out = append(out, testTrace{
			Entrypoint: r.entrypoint, Case: t.name, Failed: failed, Steps: folded(since(t.root.Steps, t.fromStep)), Dropped: t.drop,
			Asked: worthAsking(t),
		})
	}
	return out
}
