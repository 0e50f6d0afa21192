// An error of OPA's compiler in; the same error about the wrong part only, with a hint about the right one,
// out. Never changes what is an error.
//
//go:build js && wasm

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// taught are the errors of a compiler that failed.
func taught(compiler *ast.Compiler) diagnosticsError {
	out := make(diagnosticsError, 0, len(compiler.Errors))
	for _, e := range compiler.Errors {
		out = append(out, taughtError(compiler, e))
	}
	return inOrder(out)
}

func taughtError(compiler *ast.Compiler, e *ast.Error) diagnostic {
	out := fromAST(e)
	switch detail := e.Details.(type) {
	case *ast.RefErrInvalidDetail:
		return unknownMember(out, e, detail)
	case *ast.RefErrUnsupportedDetail:
		if at := detail.Pos + 1; at < len(detail.Ref) && detail.Ref[at].Location != nil {
			out = out.at(detail.Ref[at].Location)
		}
		out.Message, out.Hint = e.Message, fmt.Sprintf("%v is a %v", detail.Ref[:detail.Pos+1], detail.Have)
		return out
	}
	if detail, ok := e.Details.(*ast.UnificationErrDetail); ok {
		out.Message = fmt.Sprintf("match error: %s is never %s", aKind(detail.Left), aKind(detail.Right))
		return out
	}
	// OPA gives the names in these only as text.
	if name, found := strings.CutPrefix(e.Message, "undefined function "); found {
		return undefinedFunction(compiler, out.atCall(e.Location, name), name)
	}
	switch {
	case e.Code == ast.UnsafeVarErr && strings.HasPrefix(e.Message, "var "):
		return unsafeVariable(compiler, out, e)
	case e.Code == ast.RecursionErr:
		out.Hint = "a rule cannot rest on itself; walk and graph.reachable go through what is nested"
	}
	return out
}

// unknownMember is about a member that a document does not have; its names are those of the schema.
func unknownMember(out diagnostic, e *ast.Error, detail *ast.RefErrInvalidDetail) diagnostic {
	wrong := detail.Ref[detail.Pos]
	if wrong.Location != nil && wrong.Location.File != "" {
		out = out.at(wrong.Location)
	}
	name, isName := wrong.Value.(ast.String)
	out.Message = e.Message
	if !isName || len(detail.OneOf) == 0 {
		out.Hint = fmt.Sprintf("what is in %v is named by a %v", detail.Ref[:detail.Pos], detail.Want)
		return out
	}
	var members []string
	for _, value := range detail.OneOf {
		if member, ok := value.(ast.String); ok {
			members = append(members, string(member))
		}
	}
	out.Hint = didYouMean(detail.Ref[:detail.Pos].String()+".", string(name), members)
	return out
}

func undefinedFunction(compiler *ast.Compiler, out diagnostic, name string) diagnostic {
	if hint := unavailable(name); hint != "" {
		out.Message += ": not a builtin that policies can call"
		out.Hint = hint
		return out
	}
	candidates := slices.Clone(native)
	for _, module := range compiler.Modules {
		for _, rule := range module.Rules {
			if len(rule.Head.Args) == 0 {
				continue
			}
			full := rule.Ref().String()
			own := strings.TrimPrefix(full, module.Package.Path.String()+".")
			if out.File != "" && compiler.Modules[out.File] != nil && compiler.Modules[out.File].Package.Equal(module.Package) {
				candidates = append(candidates, own)
			}
			candidates = append(candidates, full)
		}
	}
	if near := nearest(name, candidates); near != "" {
		out.Hint = fmt.Sprintf("did you mean %s?", near)
	}
	return out
}

// unsafeVariable is most often a misspelt rule: a name that is no rule is a variable that nothing sets.
func unsafeVariable(compiler *ast.Compiler, out diagnostic, e *ast.Error) diagnostic {
	name := strings.Fields(e.Message)[1]
	out = out.atWord(e.Location, name)
	out.Hint = "nothing here gives it a value: write := or some … in …"
	module := compiler.Modules[out.File]
	if module == nil {
		return out
	}
	candidates := []string{"input", "data"}
	for _, other := range compiler.Modules {
		if other.Package.Equal(module.Package) {
			for _, rule := range other.Rules {
				candidates = append(candidates, strings.TrimPrefix(rule.Ref().String(), module.Package.Path.String()+"."))
			}
		}
	}
	if near := nearest(name, candidates); len(name) > 2 && near != "" {
		out.Hint = fmt.Sprintf("did you mean %s?", near)
	}
	return out
}
