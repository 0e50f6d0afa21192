// What an entry point answers: whether it is there, always has an answer, and one that is understood.
//
//go:build js && wasm

package main

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
	"github.com/open-policy-agent/opa/v1/util"
)

// decisions checks every entry point.
func (l *linter) decisions() {
	for _, entrypoint := range l.entrypoints {
		switch rules := l.compiler.GetRulesExact(entrypoint); {
		case len(rules) > 0:
			l.decision(entrypoint, rules)
		case len(l.compiler.GetRulesWithPrefix(entrypoint)) > 0:
			l.parts(entrypoint)
		default:
			l.missing(entrypoint)
		}
	}
}

func (l *linter) decision(entrypoint ast.Ref, rules []*ast.Rule) {
	before := len(l.found)
	l.answers(rules, map[*ast.Rule]bool{})
	// What is not written out is known by its type only.
	kind := l.compiler.TypeEnv.Get(entrypoint)
	switch first := headName(rules[0]); {
	case len(l.found) > before || kind == nil:
	case !mayBeObject(kind):
		l.report(wrongAnswer(first, fmt.Sprintf("the decision is %s, not an object with effect and reasons", aKind(kind))))
	case types.Select(kind, "effect") == nil:
		l.report(wrongAnswer(first, "the decision has no effect"))
	}
	if !l.alwaysAnswers(rules) {
		l.report(diagnostic{
			Code:    "decision_undefined",
			Message: fmt.Sprintf("some %s may get no decision: no branch is without a condition and sure of its value", l.shape.subjects),
			Hint:    fmt.Sprintf(`add: default %s := {"effect": "deny", "reasons": ["not_permitted"]}`, lastName(entrypoint)),
		}.at(headName(rules[0])))
	}
}

// parts checks a decision that is made of rules for its members, `decision.effect := …`.
func (l *linter) parts(entrypoint ast.Ref) {
	first := l.compiler.GetRulesWithPrefix(entrypoint)[0]
	for _, needed := range neededMembers {
		rules := l.compiler.GetRulesExact(entrypoint.Append(ast.StringTerm(needed)))
		if len(rules) == 0 {
			l.report(wrongAnswer(headName(first), fmt.Sprintf("the decision has no %s", needed)))
		} else if !l.alwaysAnswers(rules) {
			l.report(diagnostic{
				Code:    "decision_undefined",
				Message: fmt.Sprintf("some %s may get a decision without %s: no branch is without a condition and sure of its value", l.shape.subjects, needed),
			}.at(headName(rules[0])))
		}
	}
}

// missing is about an entry point that no rule has.
func (l *linter) missing(entrypoint ast.Ref) {
	pkg, name := entrypoint[:len(entrypoint)-1], lastName(entrypoint)
	out := diagnostic{
		Code:    "decision_missing",
		Message: fmt.Sprintf("no rule is %v, the one that the %s asks", entrypoint, l.shape.asker),
		Hint: fmt.Sprintf(`write in package %s: default %s := {"effect": "deny", "reasons": ["not_permitted"]}`,
			strings.TrimPrefix(pkg.String(), "data."), name),
	}
	for _, path := range util.KeysSorted(l.compiler.Modules) {
		module := l.compiler.Modules[path]
		if isTestFile(path) || !module.Package.Path.Equal(pkg) {
			continue
		}
		out = out.at(module.Package.Loc())
		for _, rule := range module.Rules {
			if own := rule.Head.Ref().String(); nearest(own, []string{name}) != "" {
				out = out.at(headName(rule))
				out.Hint = fmt.Sprintf("did you mean %s?", name)
			}
		}
		break
	}
	l.report(out)
}

// answers checks the values of rules that give the decision, through the rules that those stand for.
func (l *linter) answers(rules []*ast.Rule, seen map[*ast.Rule]bool) {
	for _, rule := range rules {
		for branch := rule; branch != nil; branch = branch.Else {
			if seen[branch] {
				continue
			}
			seen[branch] = true
			if branch.Head.RuleKind() == ast.MultiValue || len(branch.Head.Args) > 0 {
				l.report(wrongAnswer(headName(branch), "the decision is one object: write decision := {…}"))
				continue
			}
			if branch.Head.Ref().IsGround() {
				l.answer(branch.Head.Value, bindingsOf(branch), seen)
			}
		}
	}
}

func (l *linter) answer(term *ast.Term, b bindings, seen map[*ast.Rule]bool) {
	place := term.Location
	term = b.value(term)
	if term.Location != nil && term.Location.File != "" {
		place = term.Location
	}
	switch value := term.Value.(type) {
	case ast.Object:
		l.decisionObject(value, place, b)
	case ast.Ref:
		if rules := l.compiler.GetRulesExact(value); len(rules) > 0 && value.IsGround() {
			l.answers(rules, seen)
		}
	case ast.Number, ast.String, ast.Boolean, ast.Null, *ast.Array, ast.Set, *ast.ArrayComprehension, *ast.SetComprehension:
		l.report(wrongAnswer(place, fmt.Sprintf("the decision is %s, not an object with effect and reasons", aKindOf(value))))
	}
}

func (l *linter) decisionObject(object ast.Object, place *ast.Location, b bindings) {
	if !l.knownMembers(object, l.shape.members, "the decision") {
		return
	}
	for _, needed := range neededMembers {
		if object.Get(ast.StringTerm(needed)) == nil {
			l.report(wrongAnswer(place, fmt.Sprintf("the decision has no %s", needed)))
		}
	}
	if effect := object.Get(ast.StringTerm("effect")); effect != nil {
		l.word(b.value(effect), "effect", l.shape.effects)
		l.approval(object, b.value(effect), place)
	}
	if code := object.Get(ast.StringTerm("code")); code != nil {
		l.word(b.value(code), "code", l.shape.codes)
	}
	if reasons := object.Get(ast.StringTerm("reasons")); reasons != nil {
		l.texts(b.value(reasons), b, "the reasons are a list of strings")
	}
	for _, name := range util.KeysSorted(l.shape.objects) {
		if member := object.Get(ast.StringTerm(name)); member != nil {
			l.member(name, b.value(member), b)
		}
	}
}

// approval reports an effect that waits for a human and names none, and one that names some and never asks them.
func (l *linter) approval(object ast.Object, effect *ast.Term, place *ast.Location) {
	word, isString := effect.Value.(ast.String)
	if !isString || !slices.Contains(l.shape.effects, string(word)) {
		return
	}
	needs := slices.Contains(l.shape.approved, string(word))
	has := object.Get(ast.StringTerm("approval")) != nil
	switch {
	case needs && !has:
		l.report(wrongAnswer(place, fmt.Sprintf("the effect %s needs an approval, with %s", word, listed(approvalMembers))))
	case has && !needs:
		l.report(wrongAnswer(place, fmt.Sprintf("the effect %s has no approval: nobody would be asked", word)))
	}
}

// knownMembers reports each constant key that is none of `names`; false when a key is computed.
func (l *linter) knownMembers(object ast.Object, names []string, what string) bool {
	known := true
	object.Foreach(func(key, _ *ast.Term) {
		name, isName := key.Value.(ast.String)
		switch {
		case !isName:
			known = known && ast.IsScalar(key.Value)
		case !slices.Contains(names, string(name)):
			out := wrongAnswer(key.Location, fmt.Sprintf("%s has no member %s", what, name))
			out.Hint = didYouMean("", string(name), slices.Clone(names))
			l.report(out)
		}
	})
	return known
}

// word reports a constant that is none of the words that the member of this name may be, also where rules give it.
func (l *linter) word(term *ast.Term, name string, words []string) {
	if ref, isRef := term.Value.(ast.Ref); isRef && ref.IsGround() {
		for value := range l.valuesOf(ref) {
			l.word(value, name, words)
		}
		return
	}
	value, isString := term.Value.(ast.String)
	if isString && !slices.Contains(words, string(value)) || !isString && ast.IsConstant(term.Value) {
		out := wrongAnswer(term.Location, fmt.Sprintf("the %s is never %v", name, term))
		out.Hint = didYouMean("", term.String(), quoted(words))
		l.report(out)
	}
}

// texts reports what is written out and is no list or set of strings.
func (l *linter) texts(list *ast.Term, b bindings, message string) {
	wrong := false
	text := func(item *ast.Term) {
		item = b.value(item)
		_, isString := item.Value.(ast.String)
		wrong = wrong || ast.IsConstant(item.Value) && !isString
	}
	switch value := list.Value.(type) {
	case *ast.Array:
		value.Foreach(text)
	case ast.Set:
		value.Foreach(text)
	default:
		wrong = ast.IsConstant(value)
	}
	if wrong {
		l.report(wrongAnswer(list.Location, message))
	}
}

// member checks a member that is an object, such as the approval.
func (l *linter) member(name string, term *ast.Term, b bindings) {
	members := l.shape.objects[name]
	object, isObject := term.Value.(ast.Object)
	if !isObject {
		if ref, isRef := term.Value.(ast.Ref); isRef && ref.IsGround() {
			for value, b := range l.valuesOf(ref) {
				l.member(name, value, b)
			}
		} else if ast.IsConstant(term.Value) {
			l.report(wrongAnswer(term.Location, fmt.Sprintf("the %s is an object with %s", name, listed(members))))
		}
		return
	}
	if !l.knownMembers(object, slices.Concat(members, l.shape.optional[name]), "the "+name) {
		return
	}
	for _, needed := range members {
		if object.Get(ast.StringTerm(needed)) == nil {
			l.report(wrongAnswer(term.Location, fmt.Sprintf("the %s has no %s", name, needed)))
		}
	}
	if approvers := object.Get(ast.StringTerm("approvers")); approvers != nil {
		l.texts(b.value(approvers), b, "the approvers are a list of strings")
	}
}

// valuesOf are what the rules of a name give it, where that is written out there.
func (l *linter) valuesOf(ref ast.Ref) iter.Seq2[*ast.Term, bindings] {
	return func(yield func(*ast.Term, bindings) bool) {
		for _, rule := range l.compiler.GetRulesExact(ref) {
			for branch := rule; branch != nil; branch = branch.Else {
				if branch.Head.RuleKind() == ast.MultiValue || !branch.Head.Ref().IsGround() {
					continue
				}
				b := bindingsOf(branch)
				value := b.value(branch.Head.Value)
				// A rule that only passes on what another gives is not followed: there may be no end to it.
				if _, isRef := value.Value.(ast.Ref); !isRef && !yield(value, b) {
					return
				}
			}
		}
	}
}

// listed is `a, b and c`.
func listed(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func wrongAnswer(place *ast.Location, message string) diagnostic {
	return diagnostic{Code: "decision_invalid", Message: message}.at(place)
}

func lastName(ref ast.Ref) string {
	return string(ref[len(ref)-1].Value.(ast.String))
}

// headName is the place of a rule's name.
func headName(rule *ast.Rule) *ast.Location {
	name := rule.Head.Ref().GroundPrefix().String()
	place := *rule.Loc()
	text, _, _ := strings.Cut(string(place.Text), "\n")
	if before, _, found := strings.Cut(text, name); found {
		place.Col += len([]rune(before))
		place.Text = []byte(name)
	}
	return &place
}
