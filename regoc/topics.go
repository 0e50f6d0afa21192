// Questions that a policy may answer beside the decision: the package that answers one reads an input of its own
// schema, and is checked against that. A policy without the package is whole; the host gets no such answer from it.
//
//go:build js && wasm

package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// topic is one such question.
type topic struct {
	Entrypoint string `json:"entrypoint"`
	Schema     any    `json:"schema"`
}

func (t topic) pkg() ast.Ref {
	entrypoint := refTo(t.Entrypoint)
	return entrypoint[:len(entrypoint)-1]
}

// covers tells whether a package is the one that answers, lies below it, or has its tests.
func (t topic) covers(pkg ast.Ref) bool {
	own := t.pkg()
	tests := own[:len(own)-1].Append(ast.StringTerm(lastName(own) + "_test"))
	return pkg.HasPrefix(own) || pkg.HasPrefix(tests)
}

// topicsOf are the topics of which the policy has the package, tests apart.
func (r request) topicsOf(modules map[string]*ast.Module) []topic {
	has := func(t topic) bool {
		for path, module := range modules {
			if !isTestFile(path) && module.Package.Path.Equal(t.pkg()) {
				return true
			}
		}
		return false
	}
	return slices.DeleteFunc(slices.Clone(r.Topics), func(t topic) bool { return !has(t) })
}

// withoutTopics are the modules about requests.
func (r request) withoutTopics(modules map[string]*ast.Module) map[string]*ast.Module {
	out := maps.Clone(modules)
	maps.DeleteFunc(out, func(_ string, module *ast.Module) bool { return r.isTopic(module.Package.Path) })
	return out
}

func (r request) isTopic(pkg ast.Ref) bool {
	return slices.ContainsFunc(r.Topics, func(t topic) bool { return t.covers(pkg) })
}

// entrypointsOf are all that this policy answers.
func (r request) entrypointsOf(modules map[string]*ast.Module) []string {
	out := slices.Clone(r.Entrypoints)
	for _, t := range r.topicsOf(modules) {
		out = append(out, t.Entrypoint)
	}
	return out
}

// compilerOf refuses what is unused, deprecated, shadowed, outside the capabilities or not in the schema of the
// input. It comes with the modules to compile: those of a topic are copies that name their schema.
func (r request) compilerOf(modules map[string]*ast.Module) (*ast.Compiler, map[string]*ast.Module) {
	compiler := ast.NewCompiler().WithCapabilities(capabilities()).WithStrict(true).SetErrorLimit(0)
	if r.Schema == nil {
		return compiler, modules
	}
	schemas := ast.NewSchemaSet()
	schemas.Put(ast.SchemaRootRef, r.Schema)
	out := map[string]*ast.Module{}
	said := map[string]bool{}
	for _, path := range util.KeysSorted(modules) {
		out[path] = modules[path]
		for _, t := range r.Topics {
			if t.covers(modules[path].Package.Path) {
				name := ast.SchemaRootRef.Append(ast.StringTerm(strings.ReplaceAll(t.Entrypoint, "/", "_")))
				schemas.Put(name, t.Schema)
				out[path] = readsSchema(modules[path], name, said)
			}
		}
	}
	return compiler.WithSchemas(schemas).WithUseTypeCheckAnnotations(true), out
}

// readsSchema copies a module whose package reads an input of the named schema. OPA takes one annotation of this scope
// for a package, so what the author wrote there is added to, and only the first file of the package gets one.
func readsSchema(module *ast.Module, name ast.Ref, said map[string]bool) *ast.Module {
	const scope = "subpackages"
	module = module.Copy()
	schema := &ast.SchemaAnnotation{Path: ast.InputRootRef, Schema: name}
	for _, annotation := range module.Annotations {
		if annotation.Scope == scope {
			annotation.Schemas = append(annotation.Schemas, schema)
			said[module.Package.Path.String()] = true
		}
	}
	if pkg := module.Package.Path.String(); !said[pkg] {
		said[pkg] = true
		own := &ast.Annotations{Scope: scope, Location: module.Package.Loc(), Schemas: []*ast.SchemaAnnotation{schema}}
		module.Annotations = append(module.Annotations, own.Copy(module.Package))
	}
	return module
}
