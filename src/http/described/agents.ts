// What `/agents` says of itself.
import { z } from 'zod'
import type { Description } from '../description.ts'
import { count, reach, text } from './words.ts'

export const describedAgents: Readonly<Record<string, Description>> = {
  'GET /agents': {
    summary:
      'Agents that have files or live leases: what their profile may do, what they could reach and hold',
    answer: z.looseObject({
      agents: z.array(
        z.looseObject({
          agent: text,
          version: text,
          env: text,
          profile: text,
          client_id: text,
          tenant: text,
          has_file: z.boolean(),
          profile_rights: z.looseObject({}).nullable(),
          reach: z.array(reach.extend({ verb: text, as_draft: z.boolean() })),
          live_leases: count,
          blast_radius: z.number(),
        }),
      ),
      truncated: z.boolean(),
    }),
    errors: ['evidence_unavailable'],
  },
}
