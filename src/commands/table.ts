// Commands by name, loaded when they are asked for: half of the time of a short command would go into modules
// that it does not use (measured: 0.25 s of `policy build`). Runs nothing.
import type { Command } from 'commander'

/** Adds one command; `words` follow its name on the command line. */
export type AddCommand = (parent: Command, words: readonly string[]) => void | Promise<void>

/** How each command is loaded, in the order in which help lists them. */
export type CommandTable = Readonly<Record<string, () => Promise<AddCommand>>>

/** Adds the command that `words` begin with; all of them where that is none, so that help and errors know them. */
export async function addOnly(table: CommandTable, parent: Command, words: readonly string[]): Promise<void> {
  const [name = '', ...rest] = words
  const wanted = Object.hasOwn(table, name) ? [table[name]!] : Object.values(table)
  for (const load of wanted) await (await load())(parent, rest)
}
