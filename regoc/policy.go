// Policy sources in; checked modules, a WebAssembly module or formatted text out.
// Never optimises: at -O1 and above `data` is folded in, and a revoked id was seen to be allowed.
//
//go:build js && wasm

package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/compile"
	"github.com/open-policy-agent/opa/v1/format"
	"github.com/open-policy-agent/opa/v1/util"
)

// parsed are the files that were read last: compiling copies modules, and those here stay as they were written.
var parsed = map[string]parsedFile{}

type parsedFile struct {
	text   string
	module *ast.Module
}

// parse reads every module as Rego v1, annotations included, and reports all syntax errors at once. Operations share
// the modules and must not change them.
func parse(files map[string]string) (map[string]*ast.Module, error) {
	modules := map[string]*ast.Module{}
	var failed ast.Errors
	for _, path := range util.KeysSorted(files) {
		if known, ok := parsed[path]; ok && known.text == files[path] {
			modules[path] = known.module
			continue
		}
		module, err := ast.ParseModuleWithOpts(path, files[path], parserOptions())
		var many ast.Errors
		var one *ast.Error
		switch {
		case err == nil:
			modules[path] = module
			parsed[path] = parsedFile{files[path], module}
		case errors.As(err, &many):
			failed = append(failed, many...)
		case errors.As(err, &one):
			failed = append(failed, one)
		default:
			return nil, err
		}
	}
	if len(failed) > 0 {
		return nil, failed
	}
	if len(modules) == 0 {
		return nil, errors.New("no .rego file")
	}
	return modules, nil
}

func parserOptions() ast.ParserOptions {
	return ast.ParserOptions{RegoVersion: ast.RegoV1, ProcessAnnotation: true, Capabilities: capabilities()}
}

// last is the newest compilation that succeeded: the operations of one job rest on the same one.
var last struct {
	files    map[string]string
	compiler *ast.Compiler
}

// compiled parses and compiles the sources; its modules are rewritten copies and must not be compiled again. With an
// error of types there is a compiler too, whose rules can be read.
func compiled(req request) (*ast.Compiler, error) {
	if last.compiler != nil && maps.Equal(last.files, req.Files) {
		return last.compiler, nil
	}
	modules, err := parse(req.Files)
	if err != nil {
		return nil, err
	}
	readable := false
	compiler, modules := req.compilerOf(modules)
	compiler = compiler.
		WithPathConflictsCheck(hasDocument(req.Data)).
		WithStageAfterID(ast.StageCheckRecursion, ast.CompilerStageDefinition{
			Name: "Readable", MetricName: "readable",
			Stage: func(*ast.Compiler) *ast.Error { readable = true; return nil },
		})
	if compiler.Compile(modules); compiler.Failed() && readable {
		return compiler, taught(compiler)
	} else if compiler.Failed() {
		return nil, taught(compiler)
	}
	last.files, last.compiler = req.Files, compiler
	return compiler, nil
}

// checked compiles the sources and returns the modules as written, to be compiled for something else.
func checked(req request) (map[string]*ast.Module, error) {
	if _, err := compiled(req); err != nil {
		return nil, err
	}
	return parse(req.Files)
}

// hasDocument tells whether a path under `data` is taken by a document, so that no rule may stand there.
func hasDocument(data map[string]any) func([]string) (bool, error) {
	return func(path []string) (bool, error) {
		var here any = data
		for _, key := range path {
			object, isObject := here.(map[string]any)
			if !isObject {
				return true, nil
			}
			next, found := object[key]
			if !found {
				return false, nil
			}
			here = next
		}
		return true, nil
	}
}

// check compiles and looks for what compiles and is wrong all the same; OK with warnings only.
func check(req request) reply {
	compiler, err := compiled(req)
	if compiler == nil {
		return refuse(err)
	}
	found := lint(compiler, req)
	if err != nil {
		found = inOrder(append(found, diagnostics(err)...))
	}
	var shadowRules []string
	if err == nil {
		var problems []diagnostic
		shadowRules, problems = marked(req)
		found = inOrder(append(found, problems...))
	}
	isError := func(d diagnostic) bool { return d.Severity != warning }
	return reply{OK: !slices.ContainsFunc(found, isError), Errors: found, ShadowRules: shadowRules}
}

// marked names the rules in shadow, and what keeps the policy from doing without them.
func marked(req request) ([]string, []diagnostic) {
	modules, err := parse(req.Files)
	if err != nil {
		return nil, diagnostics(err)
	}
	live, err := withoutShadow(req, modules)
	switch {
	case err != nil:
		return nil, diagnostics(err)
	case live == nil:
		return nil, nil
	}
	return live.rules, nil
}

func build(ctx context.Context, req request) reply {
	modules, err := checked(req)
	if err != nil {
		return refuse(err)
	}
	live, err := withoutShadow(req, modules)
	if err != nil {
		return refuse(err)
	}
	out := reply{OK: true, Errors: []diagnostic{}}
	if out.Wasm, err = toWasm(ctx, req, modules, req.entrypointsOf(modules)); err != nil {
		return refuse(err)
	}
	if live == nil {
		return out
	}
	out.Shadow, out.ShadowRules = out.Wasm, live.rules
	if out.Wasm, err = toWasm(ctx, req, live.modules, req.entrypointsOf(modules)); err != nil {
		return refuse(err)
	}
	return out
}

// toWasm compiles without the data, which is set at run time, and under the packages' own roots.
func toWasm(ctx context.Context, req request, modules map[string]*ast.Module, entrypoints []string) ([]byte, error) {
	roots := packageRoots(modules)
	b := &bundle.Bundle{Manifest: bundle.Manifest{Roots: &roots}}
	b.SetRegoVersion(ast.RegoV1)
	b.Manifest.Init()
	for _, path := range util.KeysSorted(modules) {
		// A copy: building takes the entry points out of it.
		b.Modules = append(b.Modules, bundle.ModuleFile{
			URL: path, Path: path, Parsed: modules[path].Copy(), Raw: []byte(req.Files[path]),
		})
	}
	c := compile.New().
		WithTarget(compile.TargetWasm).
		WithOptimizationLevel(0).
		WithPruneUnused(true).
		WithRegoVersion(ast.RegoV1).
		WithCapabilities(capabilities()).
		WithEntrypoints(entrypoints...).
		WithBundle(b)
	if err := c.Build(ctx); err != nil {
		return nil, err
	}
	return c.Bundle().WasmModules[0].Raw, nil
}

// packageRoots are the packages as bundle roots, without those that lie below another one.
func packageRoots(modules map[string]*ast.Module) []string {
	var roots []string
	for _, module := range modules {
		path, err := module.Package.Path.Ptr()
		if err == nil {
			roots = append(roots, path)
		}
	}
	slices.Sort(roots)
	var top []string
	for _, root := range roots {
		below := func(other string) bool { return root == other || strings.HasPrefix(root, other+"/") }
		if !slices.ContainsFunc(top, below) {
			top = append(top, root)
		}
	}
	return top
}

// formatted returns every file in the canonical layout of `opa fmt`.
func formatted(req request) reply {
	out := map[string]string{}
	options := parserOptions()
	for _, path := range util.KeysSorted(req.Files) {
		text, err := format.SourceWithOpts(path, []byte(req.Files[path]), format.Opts{
			RegoVersion: ast.RegoV1, ParserOptions: &options, Capabilities: capabilities(),
		})
		if err != nil {
			return refuse(err)
		}
		out[path] = string(text)
	}
	return reply{OK: true, Errors: []diagnostic{}, Files: out}
}
