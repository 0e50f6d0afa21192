// In: a directory with a file for each agent. Out: the agents that may ask the broker for leases, as the files
// have them now; replaced as a whole when one changes. Never: half a set; a change that is broken leaves the
// set before it live.
import { setTimeout as sleep } from 'node:timers/promises'
import type { AgentRegistry } from '../broker/parties.ts'
import { type AgentReading, createMemo, parseAgents, readAgentFiles } from './agent_files.ts'
import type { AgentRules } from './agent_relations.ts'
import { ConfigError } from './problems.ts'

/** What became of a change of the files. */
export type AgentsEvent =
  | { readonly type: 'reloaded'; readonly agents: number }
  | { readonly type: 'rejected'; readonly problems: readonly string[] }

export interface OpenAgentsOptions extends AgentRules {
  readonly onEvent: (event: AgentsEvent) => void
}

/** The agents as the files have them now. */
export interface LiveAgents extends AgentRegistry {
  /** Reads the files again, changed or not; resolves once what they hold is live or rejected. */
  reloadNow(): Promise<void>
  /** Ends polling. The agents stay as they are. */
  close(): void
}

const pollMs = 1000
const settleMs = 50

/** Opens the directory and looks at it every second. Rejects with `ConfigError` when it cannot be used. */
export async function openAgents(dir: string, { onEvent, ...rules }: OpenAgentsOptions): Promise<LiveAgents> {
  const first = await readAgentFiles(dir)
  const memo = createMemo()
  let current = parseAgents(first, rules, memo)
  let seen = first.version
  const closing = new AbortController()

  async function replace(): Promise<void> {
    const reading = await readSettled(dir)
    seen = reading.version
    try {
      current = parseAgents(reading, rules, memo)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      onEvent({ type: 'rejected', problems: error.message.split('\n') })
      return
    }
    onEvent({ type: 'reloaded', agents: current.all().length })
  }

  // Attempts queue up, so that an older content never overtakes a newer one.
  let turn: Promise<void> = Promise.resolve()
  const reloadNow = () => {
    const attempt = turn.then(replace)
    turn = attempt.catch(() => undefined)
    return attempt
  }

  async function follow(): Promise<never> {
    for (;;) {
      await sleep(pollMs, undefined, { ref: false, signal: closing.signal })
      if ((await readAgentFiles(dir)).version !== seen) await reloadNow()
    }
  }
  // Only `close` ends it.
  void follow().catch(() => undefined)

  return {
    byClientId: (clientId) => current.byClientId(clientId),
    byAgent: (agent) => current.byAgent(agent),
    byWorkload: (issuer, subject) => current.byWorkload(issuer, subject),
    all: () => current.all(),
    reloadNow,
    close: () => closing.abort(),
  }
}

/** Reads until two readings agree: an editor or a volume may be half-way through its changes. */
async function readSettled(dir: string): Promise<AgentReading> {
  let reading = await readAgentFiles(dir)
  for (;;) {
    await sleep(settleMs)
    const again = await readAgentFiles(dir)
    if (again.version === reading.version) return again
    reading = again
  }
}
