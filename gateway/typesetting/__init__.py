"""Typesetting of PDF files, in a process of its own (`worker`) that the gateway starts and limits (`process`)."""
