// Policy sources with their tests in; the verdict of OPA's Go engine on each test and the coverage out, with a
// WebAssembly module that has every test as an entry point, so that the host can hear a second opinion.
// A test that fails is only named here; what it did is traced on request (trace.go).
//
//go:build js && wasm

package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"strings"
	"syscall/js"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/util"
)

// testTimeout ends a test that does not.
const testTimeout = 5 * time.Second

// testResult is one test rule; Entrypoint is its name in the WebAssembly module.
type testResult struct {
	Entrypoint string `json:"entrypoint"`
	File       string `json:"file"`
	Line       int    `json:"line"`
	Column     int    `json:"column"`
	Pass       bool   `json:"pass"`
	// Value is what the rule came to, absent when it was undefined.
	Value any `json:"value,omitempty"`
	// Cases are the rows that a table `test_x[case]` went through, nil for any other test.
	Cases    []string `json:"cases,omitempty"`
	Table    bool     `json:"table,omitempty"`
	Error    string   `json:"error,omitempty"`
	TimedOut bool     `json:"timedOut,omitempty"`
	Millis   float64  `json:"millis"`
}

func test(ctx context.Context, req request) reply {
	modules, err := parse(req.Files)
	if err != nil {
		return refuse(err)
	}
	tests, err := findTests(modules)
	if err != nil {
		return refuse(err)
	}
	if tests, err = chosen(tests, req.Run); err != nil {
		return refuse(err)
	}
	if len(tests) == 0 {
		if _, err := compiled(req); err != nil {
			return refuse(err)
		}
		return reply{OK: true, Errors: []diagnostic{}}
	}
	out := reply{OK: true, Errors: []diagnostic{}}
	if out.Coverage, err = runTests(ctx, req, tests); err != nil {
		return refuse(err)
	}
	for _, name := range util.KeysSorted(tests) {
		out.Tests = append(out.Tests, *tests[name])
	}
	if out.Wasm, err = toWasm(ctx, req, modules, util.KeysSorted(tests)); err != nil {
		return refuse(err)
	}
	return out
}

// findTests lists the test rules by entry point. Two bodies under one name would pass if either did, and a
// skipped test (`todo_test_`) checks nothing: both are errors.
func findTests(modules map[string]*ast.Module) (map[string]*testResult, error) {
	tests := map[string]*testResult{}
	var failed ast.Errors
	refuse := func(rule *ast.Rule, message, name string) {
		failed = append(failed, ast.NewError("regoc_test_error", rule.Loc(), message, name))
	}
	for _, path := range util.KeysSorted(modules) {
		for _, rule := range modules[path].Rules {
			name := ruleName(rule)
			switch {
			case strings.HasPrefix(name, "todo_test_"):
				refuse(rule, "%s is skipped", name)
				continue
			case !isTest(rule):
				continue
			case !isTable(rule) && (len(rule.Head.Ref()) > 1 || len(rule.Head.Args) > 0 || rule.Head.Key != nil):
				refuse(rule, "%s is neither a plain rule nor a table: write `%[1]s if …` or `%[1]s[case] if …`", name)
				continue
			case isTable(rule) && !hasName(rule):
				refuse(rule, "%s names its cases by more than a variable: write `%[1]s[name] if …` or `%[1]s[tc.name] if …`", name)
				continue
			}
			entrypoint, err := modules[path].Package.Path.Append(ast.StringTerm(name)).Ptr()
			if err != nil {
				return nil, err
			}
			if tests[entrypoint] != nil {
				refuse(rule, "%s exists twice", name)
				continue
			}
			at := rule.Loc()
			tests[entrypoint] = &testResult{
				Entrypoint: entrypoint, File: at.File, Line: at.Row, Column: at.Col, Table: isTable(rule),
			}
		}
	}
	if len(failed) > 0 {
		return nil, failed
	}
	return tests, nil
}

func ruleName(rule *ast.Rule) string {
	name, _ := rule.Head.Ref()[0].Value.(ast.Var)
	return string(name)
}

// chosen keeps the tests whose reference (`data.a.b.test_c`) the pattern matches, as `opa test --run` does.
func chosen(tests map[string]*testResult, pattern string) (map[string]*testResult, error) {
	matches, err := regexp.Compile(pattern)
	if err != nil {
		return nil, ast.NewError("pattern_invalid", nil, "%v", err)
	}
	kept := maps.Clone(tests)
	maps.DeleteFunc(kept, func(entrypoint string, _ *testResult) bool {
		return !matches.MatchString(refTo(entrypoint).String())
	})
	return kept, nil
}

// runTests checks the sources, fills in what the Go engine says and returns the coverage of the policy files.
// It is OPA's test runner less the trace of every step, which made up half of its time.
func runTests(ctx context.Context, req request, tests map[string]*testResult) ([]fileCoverage, error) {
	compiler, err := compiled(req)
	if err != nil {
		return nil, err
	}
	store := inmem.NewFromObject(req.Data)
	covered := cover.New()
	for _, entrypoint := range util.KeysSorted(tests) {
		runTest(ctx, compiler, store, covered, tests[entrypoint])
	}
	announce()
	return coverage(covered, compiler.Modules), nil
}

func runTest(ctx context.Context, compiler *ast.Compiler, store storage.Store, covered *cover.Cover, test *testResult) {
	announce(test.Entrypoint, test.File, test.Line, test.Column)
	ref := refTo(test.Entrypoint)
	options := []func(*rego.Rego){rego.QueryTracer(covered), rego.QueryTracer(&yielder{})}
	var rows *caseTracer
	if test.Table {
		rows = &caseTracer{rule: compiler.GetRulesWithPrefix(ref)[0], seen: map[string]bool{}}
		options = append(options, rego.QueryTracer(rows))
	}
	within, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	began := time.Now()
	value, err := valueOf(within, compiler, store, ref, options...)
	test.Millis = float64(time.Since(began).Microseconds()) / 1000
	test.Value = value
	test.Pass = err == nil && value == true
	if rows != nil {
		test.Cases = util.KeysSorted(rows.seen)
	}
	if err != nil {
		test.Error = err.Error()
		test.TimedOut = topdown.IsCancel(err)
	} else if rows != nil && rows.unnamed > 0 && len(rows.seen) > 0 {
		test.Error = fmt.Sprintf("a row fails in line %d, before it has a name", rows.unnamed)
	}
}

// valueOf evaluates a reference; nil when it is undefined.
func valueOf(
	ctx context.Context, compiler *ast.Compiler, store storage.Store, ref ast.Ref, more ...func(*rego.Rego),
) (any, error) {
	term, err := termOf(ctx, compiler, store, ref, more...)
	if err != nil || term == nil {
		return nil, err
	}
	return ast.JSON(term.Value)
}

// termOf is valueOf in Rego's own types, which know a set from an array.
func termOf(
	ctx context.Context, compiler *ast.Compiler, store storage.Store, ref ast.Ref, more ...func(*rego.Rego),
) (*ast.Term, error) {
	options := append([]func(*rego.Rego){
		rego.Compiler(compiler),
		rego.Store(store),
		rego.ParsedQuery(ast.NewBody(ast.Equality.Expr(ast.VarTerm("x"), ast.NewTerm(ref)))),
		rego.StrictBuiltinErrors(true),
		rego.GenerateJSON(func(term *ast.Term, _ *rego.EvalContext) (any, error) { return term, nil }),
	}, more...)
	rs, err := rego.New(options...).Eval(ctx)
	if err != nil || len(rs) == 0 {
		return nil, err
	}
	term, _ := rs[0].Bindings["x"].(*ast.Term)
	return term, nil
}

// announce tells the host which test begins, should it never end; nothing, once all have.
func announce(test ...any) {
	if begins := js.Global().Get("regocTestBegins"); begins.Type() == js.TypeFunction {
		begins.Invoke(test...)
	}
}

// yielder lets the timers of Go run: in WebAssembly nothing interrupts a goroutine, and the time limit of a
// test would never come.
type yielder struct{ events int }

func (*yielder) Enabled() bool { return true }

func (*yielder) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

func (y *yielder) TraceEvent(topdown.Event) {
	if y.events++; y.events%1024 == 0 {
		runtime.Gosched()
	}
}

// refsTo are the references to entry points.
func refsTo(entrypoints []string) []ast.Ref {
	refs := make([]ast.Ref, 0, len(entrypoints))
	for _, entrypoint := range entrypoints {
		refs = append(refs, refTo(entrypoint))
	}
	return refs
}

// refTo is the reference `data.a.b.test_c` to the entry point `a/b/test_c`.
func refTo(entrypoint string) ast.Ref {
	ref := ast.DefaultRootRef
	for _, part := range strings.Split(entrypoint, "/") {
		ref = ref.Append(ast.StringTerm(part))
	}
	return ref
}
