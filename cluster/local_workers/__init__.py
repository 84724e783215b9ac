"""Runs trials in forked processes of this machine: fork server, clients, reports."""
