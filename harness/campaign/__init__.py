"""Campaigns: plan jobs, run them across stations, resume, and sum up."""
