package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd prints what makes a shell complete commands and flags. It is made of the command table, once;
// the shell asks nothing of this program while it completes.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// Help is the text that completion --help ends with.
func (completionCmd) Help() string {
	return `Example:

    ai-admin completion bash > /etc/bash_completion.d/ai-admin
    ai-admin completion zsh > "${fpath[1]}/_ai-admin"
    ai-admin completion fish > ~/.config/fish/completions/ai-admin.fish`
}

// Run prints the script.
func (c completionCmd) Run(k *kong.Context, s streams) error {
	paths := completions(k.Model.Node, nil)
	write := map[string]func([]completion) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	_, err := fmt.Fprint(s.out, write(paths))
	return err
}

// completion is what can follow the words of a command.
type completion struct {
	path     string // "users list"; empty is the program itself
	commands []word
	flags    []word
}

// word is a command or a flag, what it does, and the values that it takes.
type word struct {
	text, help string
	values     []string
}

func completions(node *kong.Node, path []string) (all []completion) {
	c := completion{path: strings.Join(path, " ")}
	for _, group := range node.AllFlags(true) {
		for _, flag := range group {
			c.flags = append(c.flags, word{"--" + flag.Name, firstSentence(flag.Help), valuesOf(flag.Value)})
		}
	}
	for _, argument := range node.Positional {
		for _, value := range valuesOf(argument) {
			c.commands = append(c.commands, word{value, firstSentence(argument.Help), nil})
		}
	}
	for _, child := range node.Children {
		if child.Type == kong.CommandNode && !child.Hidden {
			c.commands = append(c.commands, word{child.Name, firstSentence(child.Help), nil})
			all = append(all, completions(child, append(slices.Clone(path), child.Name))...)
		}
	}
	return append([]completion{c}, all...)
}

func valuesOf(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return slices.DeleteFunc(strings.Split(v.Enum, ","), func(s string) bool { return s == "" })
}

func firstSentence(help string) string {
	sentence, _, _ := strings.Cut(help, ". ")
	return strings.NewReplacer("'", "", `"`, "", "`", "", "[", "(", "]", ")", ":", ",", "$", "").Replace(strings.TrimSuffix(sentence, "."))
}

func texts(words []word) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = w.text
	}
	return strings.Join(all, " ")
}

// bashCompletion takes the words that are no flags for the command, as far as there is such a one.
func bashCompletion(paths []completion) string {
	var b strings.Builder
	b.WriteString(`_ai_admin() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at='' w words=''
  COMPREPLY=()
  for w in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case " $(_ai_admin_words "$at") " in *" $w "*) [[ $w == -* ]] || at=${at:+$at }$w ;; esac
  done
  words=$(_ai_admin_values "$at $prev")
  [[ $words ]] || words=$(_ai_admin_words "$at")
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [[ ${#COMPREPLY[@]} -gt 0 ]] || { compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur")); }
}
`)
	writeCases(&b, "_ai_admin_words", "$1", paths, func(c completion) string {
		return "echo '" + strings.TrimSpace(texts(c.commands)+" "+texts(c.flags)) + "'"
	})
	writeValues(&b, "_ai_admin_values", paths, func(values string) string { return "echo '" + values + "'" })
	b.WriteString("complete -F _ai_admin ai-admin\n")
	return b.String()
}

// writeCases writes a shell function with a case for each command.
func writeCases(b *strings.Builder, name, of string, paths []completion, do func(completion) string) {
	fmt.Fprintf(b, "%s() {\n  case %s in\n", name, of)
	for _, c := range paths {
		fmt.Fprintf(b, "    '%s') %s ;;\n", c.path, do(c))
	}
	b.WriteString("  esac\n}\n")
}

// writeValues writes a shell function with a case for each flag that takes one of several values.
func writeValues(b *strings.Builder, name string, paths []completion, do func(values string) string) {
	fmt.Fprintf(b, "%s() {\n  case $1 in\n", name)
	for _, c := range paths {
		for _, flag := range c.flags {
			if len(flag.values) > 0 {
				fmt.Fprintf(b, "    '%s %s') %s ;;\n", c.path, flag.text, do(strings.Join(flag.values, " ")))
			}
		}
	}
	b.WriteString("  esac\n}\n")
}

// zshCompletion describes each word. It works from a folder of fpath, where its file is named as its function, and
// sourced.
func zshCompletion(paths []completion) string {
	var b strings.Builder
	b.WriteString(`#compdef ai-admin
_ai-admin() {
  local at='' w; local -a commands flags values
  for w in ${words[2,CURRENT-1]}; do
    [[ $w == -* ]] && continue
    _ai-admin-words "$at"; (( ${commands[(I)$w:*]} )) && at=${at:+$at }$w
  done
  _ai-admin-values "$at ${words[CURRENT-1]}"
  (( $#values )) && { _describe value values; return }
  _ai-admin-words "$at"
  (( $#commands )) && _describe command commands
  _describe flag flags
  (( $#commands )) || _files
}
`)
	described := func(words []word) string {
		all := make([]string, len(words))
		for i, w := range words {
			all[i] = "'" + w.text + ":" + w.help + "'"
		}
		return strings.Join(all, " ")
	}
	writeCases(&b, "_ai-admin-words", "$1", paths, func(c completion) string {
		return fmt.Sprintf("commands=(%s) flags=(%s)", described(c.commands), described(c.flags))
	})
	writeValues(&b, "_ai-admin-values", paths, func(values string) string { return "values=(" + values + ")" })
	b.WriteString("if [[ $funcstack[1] == _ai-admin ]]; then _ai-admin \"$@\"; else compdef _ai-admin ai-admin; fi\n")
	return b.String()
}

// fishCompletion has a line for each word, with the commands that must be there before it.
func fishCompletion(paths []completion) string {
	var b strings.Builder
	for _, c := range paths {
		condition := "__fish_use_subcommand"
		if c.path != "" {
			condition = "__fish_seen_subcommand_from " + strings.ReplaceAll(c.path, " ", "; and __fish_seen_subcommand_from ")
		}
		for _, w := range c.commands {
			others := "; and not __fish_seen_subcommand_from " + texts(c.commands)
			if c.path == "" {
				others = ""
			}
			fmt.Fprintf(&b, "complete -c ai-admin -f -n '%s%s' -a %s -d '%s'\n", condition, others, w.text, w.help)
		}
		for _, w := range c.flags {
			values := ""
			if len(w.values) > 0 {
				values = " -x -a '" + strings.Join(w.values, " ") + "'"
			}
			fmt.Fprintf(&b, "complete -c ai-admin -n '%s' -l %s%s -d '%s'\n", condition, strings.TrimPrefix(w.text, "--"), values, w.help)
		}
	}
	return b.String()
}
