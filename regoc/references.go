// References that lead nowhere: to `data` where neither a document nor a rule has the name, and to a member of
// the input that may be null, where OPA's type checker asks no further.
//
//go:build js && wasm

package main

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// dataReferences reports them. Inside a package it is an error: only a rule could have the name. Elsewhere it is
// a warning, because data may come later; below a document nothing is said, because its keys are data too.
func (l *linter) dataReferences() {
	for _, module := range l.compiler.Modules {
		for _, rule := range module.Rules {
			ast.WalkRefs(rule, func(ref ast.Ref) bool {
				if ref.HasPrefix(ast.DefaultRootRef) {
					l.dataReference(ref)
				}
				return false
			})
		}
	}
}

func (l *linter) dataReference(ref ast.Ref) {
	rules := l.compiler.RuleTree.Child(ast.DefaultRootDocument.Value)
	documents := l.data
	for at := 1; at < len(ref); at++ {
		name, isName := ref[at].Value.(ast.String)
		if !isName || rules != nil && len(rules.Values) > 0 {
			return
		}
		var next *ast.TreeNode
		if rules != nil {
			next = rules.Child(name)
		}
		document, found := documents[string(name)]
		if next == nil && !found {
			if at == 1 || rules != nil && len(rules.Children) > 0 {
				l.report(unknownData(ref, at, namesAt(rules, documents)))
			}
			return
		}
		rules = next
		documents, _ = document.(map[string]any)
	}
}

func namesAt(rules *ast.TreeNode, documents map[string]any) []string {
	var names []string
	if rules != nil {
		for key := range rules.Children {
			if name, ok := key.(ast.String); ok {
				names = append(names, string(name))
			}
		}
	}
	for name := range documents {
		names = append(names, name)
	}
	return names
}

func unknownData(ref ast.Ref, at int, names []string) diagnostic {
	wrong := ref[at]
	name := string(wrong.Value.(ast.String))
	out := diagnostic{
		Code:    "data_unknown",
		Message: fmt.Sprintf("%v is neither a rule nor a document", ref[:at+1]),
		Hint:    didYouMean(ref[:at].String()+".", name, names),
	}
	if at == 1 {
		out.Severity = warning
	}
	return out.at(wrong.Location)
}

// inputReferences reports each member that the schema of the input does not have.
func (l *linter) inputReferences() {
	l.eachRule(func(rule *ast.Rule, b bindings) {
		ast.WalkTerms(rule.Body, func(term *ast.Term) bool {
			if _, isRef := term.Value.(ast.Ref); isRef {
				if ref, known := b.ref(term); known && ref.HasPrefix(ast.InputRootRef) {
					l.inputReference(ref)
				}
			}
			return false
		})
	})
}

func (l *linter) inputReference(ref ast.Ref) {
	for at := 2; at < len(ref); at++ {
		name, isName := ref[at].Value.(ast.String)
		members := membersOf(schemaAt(l.schema, ref[:at]))
		if !isName || len(members) == 0 || slices.Contains(members, string(name)) {
			continue
		}
		l.report(diagnostic{
			Code:    "rego_type_error",
			Message: "undefined ref: " + l.shown(ref),
			Hint:    didYouMean(l.shown(ref[:at])+".", string(name), members),
		}.at(ref[at].Location))
		return
	}
}

// membersOf are the members of a document that has no others; empty where the schema leaves room.
func membersOf(schema any) []string {
	object, _ := schema.(map[string]any)
	if variants, ok := object["anyOf"].([]any); ok {
		for _, variant := range variants {
			if members := membersOf(variant); len(members) > 0 {
				return members
			}
		}
	}
	if properties, ok := object["properties"].(map[string]any); ok && object["additionalProperties"] == false {
		return util.KeysSorted(properties)
	}
	return nil
}
