// The first step of the demo: alice's token and the agent's word become a lease (RFC 8693), with curl alone.
import type { DemoFacts, Step } from './steps.ts'

const details = [
  {
    type: 'lease',
    actions: ['read'],
    identifier: 'crm:customer/9821',
    sensitivity: 'confidential',
  },
]

/** The step; it leaves the lease for those after it. */
export function exchangeStep({ config, parties }: DemoFacts): Step {
  const url = `${config.broker.issuer}/token`
  const form = {
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    resource: config.publicOrigin,
    task: 'jira:SUP-4711',
    purpose: "answer the customer's billing question",
    authorization_details: JSON.stringify(details),
  }
  return {
    title: '1. The agent asks for a lease, on behalf of alice, for one task',
    shown: commandOf(url, form),
    expected: '200: a lease token for five minutes',
    async perform(lease) {
      const secrets = {
        subject_token: await parties.idToken(),
        client_assertion: await parties.assertion(config.broker.issuer),
      }
      const response = await fetch(url, {
        method: 'POST',
        body: new URLSearchParams({ ...form, ...secrets }),
      })
      const answer = (await response.json()) as Record<string, unknown>
      const { access_token: token, lease_id: id, ...shown } = answer
      const lines = JSON.stringify({ access_token: 'eyJ…', lease_id: id, ...shown }, null, 2).split('\n')
      if (typeof token !== 'string' || typeof id !== 'string') {
        return {
          lines: JSON.stringify(answer, null, 2).split('\n'),
          problem: `expected a lease, got ${response.status}`,
        }
      }
      Object.assign(lease, { token, id })
      return { lines }
    },
  }
}

/** One curl command; what comes back is taken apart by Node, which is there. */
function commandOf(url: string, form: Readonly<Record<string, string>>): string {
  const fields = Object.entries(form).map(
    ([name, value]) => `  --data-urlencode ${quoted(`${name}=${value}`)} \\\n`,
  )
  return [
    `ANSWER=$(curl -s ${url} \\\n`,
    ...fields,
    '  --data-urlencode "subject_token=$ALICE" \\\n  --data-urlencode "client_assertion=$AGENT"); echo "$ANSWER"\n',
    'export LEASE=$(node -pe "JSON.parse(process.argv[1]).access_token" "$ANSWER")\n',
    'export LEASE_ID=$(node -pe "JSON.parse(process.argv[1]).lease_id" "$ANSWER")',
  ].join('')
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
