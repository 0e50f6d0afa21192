// `leasegate lease show`: one lease, the six questions and its life.
import type { Command } from 'commander'
import { leaseRadius } from '../../broker/blast_search.ts'
import { describeLease } from '../../broker/lease_search.ts'
import { leaseView } from '../../broker/lease_view.ts'
import { surroundings } from '../../config/blast_radius.ts'
import { loadStateConfig } from '../state_config.ts'
import { say, sayFacts, sayJson, style } from '../terminal.ts'
import { leaseFacts, stateText } from './lease_text.ts'
import { requireLease, withStore } from './with_store.ts'

/** Adds `lease show`. */
export function addShowCommand(lease: Command): void {
  lease
    .command('show')
    .description('who, which agent, what, why, when, and what happened under it')
    .argument('<id>', 'lse_…')
    .option('-c, --config <file>', 'configuration file', 'config.yaml')
    .option('--json', 'for programs: as GET /leases/{id} answers')
    .action(show)
}

async function show(id: string, options: { config: string; json?: boolean }): Promise<void> {
  const now = Date.now() / 1000
  const config = loadStateConfig(options.config)
  const known = await withStore(config, async (store) =>
    describeLease(await requireLease(id, store), store, now),
  )
  const radius = leaseRadius(known, surroundings(config, now))
  if (options.json === true) return sayJson(leaseView(known, radius))
  const { record, state } = known
  say(`${style.bold(record.id)}  ${stateText(state, record.maxExpiresAt - now)}`)
  sayFacts(leaseFacts(known, now, radius))
}
