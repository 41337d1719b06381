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

// word is a command or a flag, and what it does.
type word struct{ text, help string }

func completions(node *kong.Node, path []string) (all []completion) {
	c := completion{path: strings.Join(path, " ")}
	for _, group := range node.AllFlags(true) {
		for _, flag := range group {
			c.flags = append(c.flags, word{"--" + flag.Name, firstSentence(flag.Help)})
		}
	}
	for _, child := range node.Children {
		if child.Type == kong.CommandNode && !child.Hidden {
			c.commands = append(c.commands, word{child.Name, firstSentence(child.Help)})
			all = append(all, completions(child, append(slices.Clone(path), child.Name))...)
		}
	}
	return append([]completion{c}, all...)
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
	b.WriteString("_ai_admin() {\n  local cur=${COMP_WORDS[COMP_CWORD]} path='' w words=''\n  COMPREPLY=()\n" +
		"  for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case \" $(_ai_admin_words \"$path\") \" in *\" $w \"*) [[ $w == -* ]] || path=${path:+$path }$w ;; esac\n  done\n" +
		"  words=$(_ai_admin_words \"$path\")\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n" +
		"  [[ ${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- \"$cur\"))\n}\n_ai_admin_words() {\n  case $1 in\n")
	for _, c := range paths {
		fmt.Fprintf(&b, "    '%s') echo '%s' ;;\n", c.path, strings.TrimSpace(texts(c.commands)+" "+texts(c.flags)))
	}
	b.WriteString("  esac\n}\ncomplete -o filenames -F _ai_admin ai-admin\n")
	return b.String()
}

// zshCompletion describes each word.
func zshCompletion(paths []completion) string {
	var b strings.Builder
	b.WriteString("#compdef ai-admin\n_ai_admin() {\n  local path='' w; local -a commands flags\n" +
		"  for w in ${words[2,CURRENT-1]}; do\n    [[ $w == -* ]] && continue\n    _ai_admin_words \"$path\"; (( ${commands[(I)$w:*]} )) && path=${path:+$path }$w\n  done\n" +
		"  _ai_admin_words \"$path\"\n  (( $#commands )) && _describe command commands\n  _describe flag flags\n  (( $#commands )) || _files\n}\n" +
		"_ai_admin_words() {\n  commands=() flags=()\n  case $1 in\n")
	described := func(words []word) string {
		all := make([]string, len(words))
		for i, w := range words {
			all[i] = "'" + w.text + ":" + w.help + "'"
		}
		return strings.Join(all, " ")
	}
	for _, c := range paths {
		fmt.Fprintf(&b, "    '%s') commands=(%s) flags=(%s) ;;\n", c.path, described(c.commands), described(c.flags))
	}
	b.WriteString("  esac\n}\n_ai_admin \"$@\"\n")
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
			fmt.Fprintf(&b, "complete -c ai-admin -n '%s' -l %s -d '%s'\n", condition, strings.TrimPrefix(w.text, "--"), w.help)
		}
	}
	return b.String()
}
