// Policy sources with their tests in; the verdict of OPA's Go engine on each test out, with a WebAssembly
// module that has every test as an entry point, so that the host can hear a second opinion.
//
//go:build js && wasm

package main

import (
	"context"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
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
	Error      string `json:"error,omitempty"`
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
	if len(tests) == 0 {
		return check(req)
	}
	coverage, err := runTests(ctx, req, tests)
	if err != nil {
		return refuse(err)
	}
	out := reply{OK: true, Errors: []diagnostic{}, Coverage: &coverage}
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
	for _, path := range util.KeysSorted(modules) {
		for _, rule := range modules[path].Rules {
			name := string(rule.Head.Ref()[0].Value.(ast.Var))
			switch {
			case strings.HasPrefix(name, "todo_test_"):
				failed = append(failed, ast.NewError("regoc_test_error", rule.Loc(), "%s is skipped", name))
				continue
			case !strings.HasPrefix(name, "test_"):
				continue
			case len(rule.Head.Ref()) > 1 || len(rule.Head.Args) > 0 || rule.Head.Key != nil:
				failed = append(failed, ast.NewError("regoc_test_error", rule.Loc(), "%s is not a plain rule", name))
				continue
			}
			entrypoint, err := modules[path].Package.Path.Append(ast.StringTerm(name)).Ptr()
			if err != nil {
				return nil, err
			}
			if tests[entrypoint] != nil {
				failed = append(failed, ast.NewError("regoc_test_error", rule.Loc(), "%s exists twice", name))
				continue
			}
			at := rule.Loc()
			tests[entrypoint] = &testResult{Entrypoint: entrypoint, File: at.File, Line: at.Row, Column: at.Col}
		}
	}
	if len(failed) > 0 {
		return nil, failed
	}
	return tests, nil
}

// runTests checks the sources, fills in what the Go engine says and returns the coverage of the policy files
// in percent. It is OPA's test runner less the trace of every step, which made up half of its time.
func runTests(ctx context.Context, req request, tests map[string]*testResult) (float64, error) {
	compiler, err := compiled(req)
	if err != nil {
		return 0, err
	}
	store := inmem.NewFromObject(req.Data)
	covered := cover.New()
	for entrypoint, result := range tests {
		within, cancel := context.WithTimeout(ctx, testTimeout)
		rs, err := rego.New(
			rego.Compiler(compiler),
			rego.Store(store),
			rego.ParsedQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(refTo(entrypoint))))),
			rego.StrictBuiltinErrors(true),
			rego.QueryTracer(covered),
		).Eval(within)
		cancel()
		if err != nil {
			result.Error = err.Error()
		}
		result.Pass = err == nil && rs.Allowed()
	}
	return covered.Report(policyModules(compiler.Modules)).Coverage, nil
}

// refTo is the reference `data.a.b.test_c` to the entry point `a/b/test_c`.
func refTo(entrypoint string) ast.Ref {
	ref := ast.DefaultRootRef
	for _, part := range strings.Split(entrypoint, "/") {
		ref = ref.Append(ast.StringTerm(part))
	}
	return ref
}

func policyModules(modules map[string]*ast.Module) map[string]*ast.Module {
	out := map[string]*ast.Module{}
	for path, module := range modules {
		if !strings.HasSuffix(path, "_test.rego") {
			out[path] = module
		}
	}
	return out
}
