export * from './client.js';
export * from './errors.js';
export * from './generated/operations.js';
export type { EventOf, KeyOptional, Mutation, Operation, Query, Subscription } from './operation.js';
