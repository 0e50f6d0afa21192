// In: nothing; root on Linux. Out: a machine as far as networks go: a namespace with one link for agents and backends
// and another for the store, which can fail as links do. It removes what it made.
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'

/** How the link to the store is. `down`: packets are lost. `unreachable`: the machine has no route. */
export type Link = 'up' | 'down' | 'unreachable'

export interface TestMachine {
  /** Its address for agents and operators. */
  readonly host: string
  /** What runs a command there. */
  readonly prefix: readonly string[]
  /** Our addresses as it sees them. */
  readonly agentsSide: string
  readonly storeSide: string
  turnStoreLink(link: Link): void
  close(): void
}

/** Makes one; undefined where network namespaces cannot be made. */
export function openMachine(): TestMachine | undefined {
  const number = randomInt(1, 255)
  const name = `leasegate${number}`
  const inside = ['ip', 'netns', 'exec', name]
  if (!tried(['ip', 'netns', 'add', name])) return undefined
  const agents = { ours: `lgagents${number}`, theirs: 'agents', net: `10.203.${number}` }
  const store = { ours: `lgstore${number}`, theirs: 'store', net: `10.204.${number}` }
  const close = () => void tried(['ip', 'netns', 'delete', name])
  try {
    run([...inside, 'ip', 'link', 'set', 'lo', 'up'])
    for (const { ours, theirs, net } of [agents, store]) {
      run(['ip', 'link', 'add', ours, 'type', 'veth', 'peer', 'name', theirs, 'netns', name])
      run(['ip', 'address', 'add', `${net}.1/30`, 'dev', ours])
      run(['ip', 'link', 'set', ours, 'up'])
      run([...inside, 'ip', 'address', 'add', `${net}.2/30`, 'dev', theirs])
      run([...inside, 'ip', 'link', 'set', theirs, 'up'])
    }
  } catch {
    close()
    return undefined
  }
  const storeSide = `${store.net}.1`
  return {
    host: `${agents.net}.2`,
    prefix: inside,
    agentsSide: `${agents.net}.1`,
    storeSide,
    turnStoreLink(link) {
      run(['ip', 'link', 'set', store.ours, link === 'down' ? 'down' : 'up'])
      const change = link === 'unreachable' ? run : tried
      const verb = link === 'unreachable' ? 'add' : 'delete'
      change([...inside, 'ip', 'route', verb, 'unreachable', `${storeSide}/32`])
    },
    close,
  }
}

function tried([command, ...args]: readonly string[]): boolean {
  return spawnSync(command!, args, { stdio: 'ignore' }).status === 0
}

function run(command: readonly string[]): void {
  if (!tried(command)) throw new Error(`${command.join(' ')} failed`)
}
