// Generates types for the operations of this folder from the gateway's schema: `URL=… KEY=… npm run generate`.

const { URL: address = 'http://127.0.0.1:8000', KEY: key } = process.env;

export default {
  schema: { [`${address}/graphql/schema.graphql`]: { headers: { Authorization: `Bearer ${key}` } } },
  documents: ['balance.ts'],
  // ES modules name their files with the extension.
  emitLegacyCommonJSImports: false,
  generates: {
    'generated/': {
      preset: 'client',
      config: {
        // As they are sent: amounts and large integers are strings, exact in every language.
        scalars: { BigInt: 'string', Date: 'string', DateTime: 'string', Decimal: 'string', YearMonth: 'string' },
        useTypeImports: true,
        documentMode: 'string',
      },
    },
  },
};
