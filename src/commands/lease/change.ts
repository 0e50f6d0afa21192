// `leasegate lease suspend|resume|complete`: one lease, at every gate on the state store. To revoke one is
// `leasegate revoke --lease`.
import type { Command } from 'commander'
import { describeLease } from '../../broker/lease_search.ts'
import { leaseView } from '../../broker/lease_view.ts'
import { changeLease, type LifecycleVerb } from '../../broker/lifecycle.ts'
import { isRefusal } from '../../refusals.ts'
import { loadStateConfig } from '../state_config.ts'
import { operator, say, sayJson, style } from '../terminal.ts'
import { failure, requireLease, withStore } from './with_store.ts'

interface ChangeOptions {
  readonly config: string
  readonly reason: string
  readonly json?: boolean
}

/** Adds `lease suspend`. */
export const addSuspendCommand = command('suspend', 'refuse every call under a lease until it is resumed')
/** Adds `lease resume`. */
export const addResumeCommand = command('resume', 'let a suspended lease through again')
/** Adds `lease complete`. */
export const addCompleteCommand = command('complete', 'end a lease whose task is done, for good')

function command(verb: LifecycleVerb, description: string): (lease: Command) => void {
  return (lease) => {
    lease
      .command(verb)
      .description(description)
      .argument('<id>', 'lse_…')
      .requiredOption('--reason <text>', 'why; kept in the record')
      .option('-c, --config <file>', 'configuration file', 'config.yaml')
      .option('--json', 'for programs: as GET /leases/{id} answers')
      .action((id: string, options: ChangeOptions) => change(verb, id, options))
  }
}

async function change(
  verb: LifecycleVerb,
  id: string,
  { config, reason, json }: ChangeOptions,
): Promise<void> {
  const now = Date.now() / 1000
  await withStore(loadStateConfig(config), async (store) => {
    const record = await requireLease(id, store)
    const changed = await changeLease(record, { verb, by: operator(), reason, now }, store)
    if (isRefusal(changed)) throw failure(changed)
    if (json === true) return sayJson(leaseView(await describeLease(changed, store, now)))
    const paint = { active: style.green, suspended: style.yellow, revoked: style.red, completed: style.dim }
    const repeated = changed.version === record.version ? style.dim('  it was so already') : ''
    say(`${paint[changed.state](changed.state)} ${style.bold(id)}${repeated}`)
  })
}
