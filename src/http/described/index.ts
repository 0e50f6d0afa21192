// What endpoints say of themselves that do not say it where they are served: by method and path. ADD A DESCRIPTION in
// the file of its part. A path that nobody serves is in no document.
import type { Description } from '../description.ts'
import { describedActions } from './actions.ts'
import { describedAgents } from './agents.ts'
import { describedBroker } from './broker.ts'
import { describedConsole } from './console.ts'
import { describedDecisions } from './decisions.ts'
import { describedLeases } from './leases.ts'

/** By `METHOD /path/{id}`. */
export const described: Readonly<Record<string, Description>> = {
  ...describedActions,
  ...describedAgents,
  ...describedBroker,
  ...describedConsole,
  ...describedDecisions,
  ...describedLeases,
}
